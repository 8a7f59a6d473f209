"""Runs a file that is to become a backbone on a few pictures, and checks what it gives."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schema.errors import BackboneError
from schema.network.backbones import PixelScale
from schema.shapes import MAX_VALUES
from worker.backbones.pixels import to_values
from worker.backbones.session import BackboneSession

_TIMED = 8  # pictures
_TICK_S = 1e-6  # a tiny backbone may take less than the clock shows
_ALIKE = 1e-3  # of the largest value: features of one picture, alone and among others


@dataclass(frozen=True)
class DryRun:
    """What a backbone made of a few pictures: values of each, and processor seconds for one."""

    values: int
    seconds: float


def try_out(data: bytes, size: int, scale: PixelScale) -> DryRun:
    """Run the checked file ``data`` on black, white and random pictures of ``size`` pixels.

    Raises:
        BackboneError: it fails, or its output is not (b, D), not finite, or depends on other pictures.
    """
    session = BackboneSession(data)
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (_TIMED, size, size, 3), dtype=np.uint8)
    images[0], images[1] = 0, 255
    values = to_values(images, size, scale)
    together = _checked(session.run(values[:3]), 3)
    for k in range(3):
        alone = _checked(session.run(values[k : k + 1]), 1)
        if alone.shape[1] != together.shape[1] or _differ(alone[0], together[k]):
            raise BackboneError(
                "the features of a picture depend on the pictures beside it: export the model after "
                "model.eval(), without anything that mixes pictures"
            )
    if np.ptp(together, axis=0).max() == 0.0:
        raise BackboneError(
            "the features of a black, a white and a random picture are equal: nothing differs"
        )
    start = time.process_time()
    _checked(session.run(values), _TIMED)
    return DryRun(together.shape[1], max(time.process_time() - start, _TICK_S) / _TIMED)


def _checked(features: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    if features.ndim != 2 or len(features) != count or features.dtype != np.float32:
        raise BackboneError(
            f"the output for {count} pictures is {features.dtype} {features.shape}; a backbone gives float32 "
            f"({count}, D): end the model with a mean over height and width"
        )
    if not 1 <= features.shape[1] <= MAX_VALUES:
        raise BackboneError(f"the output has {features.shape[1]} values; 1 to {MAX_VALUES:,} are allowed")
    if not np.isfinite(features).all():
        raise BackboneError(
            "the output is not finite for a black, a white or a random picture: check --scale"
        )
    if np.abs(features).max() > np.finfo(np.float16).max:
        raise BackboneError(
            f"the output reaches {np.abs(features).max():.3g}; features are stored as float16, up to 65,504: "
            "check --scale"
        )
    return features


def _differ(one: NDArray[np.float32], other: NDArray[np.float32]) -> bool:
    return float(np.abs(one - other).max()) > _ALIKE * max(float(np.abs(other).max()), 1e-6)
