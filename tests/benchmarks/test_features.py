"""Feature vectors by EfficientNet-Lite0, images a CPU second, against onnxruntime alone on the same machine.

Ours goes from decoded pixels to the bytes that are stored; the rival gets values that are scaled already. Its
file is that of docs/backbones.md: ANNEALQ_TEST_BACKBONE=efficientnet-lite0.onnx.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import pytest

from schema.codecs.features import encode_features
from schema.network.backbones import PixelScale
from schema.network.recipes import Recipe
from tests.benchmarks.conftest import Record
from worker.backbones.pixels import to_values
from worker.backbones.session import BackboneSession
from worker.pipeline.features.vectors import vectors_of

pytestmark = [pytest.mark.bench, pytest.mark.timeout(900)]

ROUNDS = 5
FEATURES = 1_280
AT_ONCE = 400_000  # values that the rival gets at once, as ours


@pytest.fixture(scope="module")
def backbone() -> BackboneSession:
    path = os.environ.get("ANNEALQ_TEST_BACKBONE")
    if path is None:
        pytest.skip("ANNEALQ_TEST_BACKBONE names no ONNX file: docs/backbones.md says how to write one")
    return BackboneSession(Path(path).read_bytes())


@pytest.mark.parametrize(("size", "images", "goal"), [(64, 1_024, 900), (128, 384, 280), (224, 128, 90)])
def test_images_a_cpu_second(
    record: Record, backbone: BackboneSession, size: int, images: int, goal: float
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (images, size, size, 3), dtype=np.uint8)
    scale = PixelScale.parse("127,128")
    recipe = Recipe("0" * 64, size, scale, FEATURES)
    chunk = max(1, AT_ONCE // (3 * size**2))
    values = [to_values(pixels[k : k + chunk], size, scale) for k in range(0, images, chunk)]

    def ours() -> None:
        encode_features(vectors_of(backbone, recipe, pixels, lambda: None))

    def alone() -> None:
        for part in values:
            backbone.run(part)

    rates = [(_rate(ours, images), _rate(alone, images)) for _ in range(ROUNDS)]
    spread = [mine for mine, _ in rates]
    rival = median(other for _, other in rates)
    record(
        f"features, {size} x {size} pixels", median(spread), "images/CPU s", goal, rival=rival, spread=spread
    )


def _rate(work: Callable[[], None], images: int) -> float:
    start = time.process_time()
    work()
    return images / (time.process_time() - start)
