"""Images through Ocean's samplers: one by one, without waiting, and with full problems.

Each is written once, as an expert user of Ocean would: the embedding is found before and fixed, and arrays
are counted with numpy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import dimod
import numpy as np
from dwave.system import DWaveSampler, FixedEmbeddingComposite, ParallelEmbeddingComposite
from numpy.typing import NDArray

from tests.benchmarks.rivals.ocean import count_by_argsort
from worker.network.trained import TrainedNetwork
from worker.qubo.energy_model import EnergyModel

FloatArray = NDArray[np.float64]
Rival = Callable[["Shop", NDArray[np.uint8]], FloatArray]
_FRACTION = 0.1


@dataclass(frozen=True)
class Shop:
    """What all rivals have ready. embeddings: of each tile, unit to chain."""

    sampler: DWaveSampler
    network: TrainedNetwork
    model: EnergyModel
    embeddings: list[dict[int, list[int]]]
    reads: int

    def bqm(self, image: NDArray[np.uint8]) -> dimod.BinaryQuadraticModel:
        """The energy function of an image (H, W)."""
        model = self.model
        linear = model.linear(self.network.features(image[np.newaxis]))[0]
        pairs = (model.edges[:, 0], model.edges[:, 1], model.couplings)
        return dimod.BinaryQuadraticModel.from_numpy_vectors(linear, pairs, 0.0, "BINARY")

    def scores(self, answers: Iterable[dimod.SampleSet]) -> FloatArray:
        """Class scores (B, K) of images."""
        classes = list(range(self.model.units))[self.model.class_units]
        return np.array([count_by_argsort(answer, classes, _FRACTION) for answer in answers])


def one_by_one(shop: Shop, images: NDArray[np.uint8]) -> FloatArray:
    """Rival (a)."""
    fixed = FixedEmbeddingComposite(shop.sampler, shop.embeddings[0])
    found = []
    for image in images:
        answer = fixed.sample(shop.bqm(image), num_reads=shop.reads)
        answer.resolve()
        found.append(answer)
    return shop.scores(found)


def without_waiting(shop: Shop, images: NDArray[np.uint8]) -> FloatArray:
    """Rival (b): all are sent before the first answer is looked at."""
    fixed = FixedEmbeddingComposite(shop.sampler, shop.embeddings[0])
    return shop.scores([fixed.sample(shop.bqm(image), num_reads=shop.reads) for image in images])


def in_parallel(shop: Shop, images: NDArray[np.uint8]) -> FloatArray:
    """Rival (c): as many images in one problem as there are embeddings."""
    tiles = len(shop.embeddings)
    composite = ParallelEmbeddingComposite(shop.sampler, embeddings=shop.embeddings)
    found: list[dimod.SampleSet] = []
    for start in range(0, len(images), tiles):
        bqms = [shop.bqm(image) for image in images[start : start + tiles]]
        answers, _ = composite.sample_multiple(bqms, num_reads=shop.reads)
        found += answers
    return shop.scores(found)
