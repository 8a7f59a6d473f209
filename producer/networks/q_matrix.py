"""Computes the Q matrix of a ready network in a process of the worker, as arrays or as a file for Ocean."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from producer.files import replacing
from producer.images.imageset import ImageSet
from producer.images.source import read_images
from producer.networks.chosen import ChosenNetwork
from producer.networks.compatibility import match_images
from producer.stack import programs
from producer.stack.programs import Program
from schema.errors import ParameterError
from schema.parameters import Visible
from schema.quantities import count_text
from schema.settings import Settings

_MODEL_SUFFIXES = (".bqm", ".coo", ".json")
_PATIENCE_S = 300  # importing torch from a cold disk takes its time


@dataclass(frozen=True, eq=False)
class QMatrix:
    """The Q matrix of a network.

    Attributes:
        values: (n, n) float64, upper triangular.
        sizes: units of each layer, in Q's order.
        kinds: of the same layers.
        sources: names and units of the blocks of visible units, if the network has sources.
    """

    values: NDArray[np.float64]
    sizes: tuple[int, ...]
    kinds: tuple[str, ...]
    sources: tuple[tuple[str, int], ...] = ()


def read_image(text: str, network: ChosenNetwork) -> tuple[ImageSet, int]:
    """Read the image that ``text``, `DATA` or `DATA:INDEX`, names; return it alone, and its index, or 0.

    It is as ``network`` takes it.

    Raises:
        ImageError: they cannot be read, or ``network`` cannot take them.
        ParameterError: the index is out of range.
    """
    data, colon, number = text.rpartition(":")
    has_index = bool(colon) and number.isdecimal() and not Path(text).exists()
    images = read_images(data if has_index else text)
    index = int(number) if has_index else 0
    if index >= len(images.images):
        raise ParameterError(
            f"{images.name} has {count_text(len(images.images), 'image')}, 0 to {len(images.images) - 1}"
        )
    only = replace(images, images=images.images[index : index + 1], labels=None, sources=None)
    return match_images(only, network), index


def compute(settings: Settings, network: int, image: NDArray[np.generic] | None = None) -> QMatrix:
    """Compute Q of the network in row ``network`` for ``image``.

    Args:
        settings: where the database is.
        network: its row.
        image: as the network takes it; None: all feature values are 0.

    Raises:
        AnnealqError: the worker's libraries are not installed, or the network is not ready.
    """
    with tempfile.TemporaryDirectory(prefix="annealq-") as folder:
        output = Path(folder) / "q.npz"
        arguments = [str(network), str(output)]
        if image is not None:
            image_file = Path(folder) / "image.npy"
            np.save(image_file, image, allow_pickle=False)
            arguments += ["--image", str(image_file)]
        programs.run(Program.Q_MATRIX, arguments, settings, timeout_s=_PATIENCE_S)
        with np.load(output, allow_pickle=False) as arrays:
            sizes, kinds = arrays["sizes"].tolist(), arrays["kinds"].tolist()
            sources = zip(arrays["sources"].tolist(), arrays["blocks"].tolist(), strict=True)
            return QMatrix(arrays["q_matrix"], tuple(sizes), tuple(kinds), tuple(sources))


def check_model_file(path: Path) -> None:
    """Raise ParameterError unless the name of ``path`` ends like a file of a binary quadratic model."""
    if path.suffix not in _MODEL_SUFFIXES:
        *others, last = (f"NAME{suffix}" for suffix in _MODEL_SUFFIXES)
        raise ParameterError(f"{path}: unknown form of a model: name it {', '.join(others)} or {last}")


def write_model(
    settings: Settings,
    network: int,
    image: NDArray[np.generic],
    path: Path,
    visible: Visible,
    lam: float | None = None,
) -> int:
    """Write the binary quadratic model of ``image`` to ``path``; return its number of variables.

    Args:
        settings: where the database is.
        network: its row.
        image: as the network takes it.
        path: .bqm, .coo or .json; see `check_model_file`.
        lam: one-hot penalty; None: the network's own.

    Raises:
        AnnealqError: as for `compute`.
    """
    with tempfile.TemporaryDirectory(prefix="annealq-") as folder, replacing(path) as part:
        image_file = Path(folder) / "image.npy"
        np.save(image_file, image, allow_pickle=False)
        arguments = [str(network), str(image_file), str(part), path.suffix, "--visible", visible.value]
        arguments += [] if lam is None else ["--lam", repr(lam)]
        return int(programs.run(Program.OCEAN_MODEL, arguments, settings, timeout_s=_PATIENCE_S))
