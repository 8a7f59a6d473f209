"""Computes what stands with an accuracy on qubits: the network's own, the exact minimum, and random bits.

Some rules for chains and reads are partly classical descent, so that an accuracy says little of the annealer
alone. Random bits, one for each qubit, pass through the same unembedding and the same consensus rule as
reads: the difference to them is what annealing did. The class of the lowest energy, in closed form, is what
an ideal annealer would find, and the network's own class is what it was trained for. Each has its time.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from schema.codecs.tiling import Tiling
from schema.parameters import Parameters
from schema.shapes import InputArray
from worker.compute import consensus, scoring
from worker.network.trained import TrainedNetwork
from worker.qubo.class_states import class_minima
from worker.qubo.energy_model import EnergyModel

MAX_OWN = 2_000  # images of a forward pass: 0.2 ms each of `mnist`, 0.6 ms of `conv358`
_MAX_VALUES = 5_000_000  # of units in all reads of random bits together: 1 s
_BLOCK_READS = 20_000  # at a time
_STREAM = 0xC0  # tells these random numbers from others of the same seed


@dataclass(frozen=True)
class Share:
    """Share of images that are right; undecided ones count as wrong.

    Attributes:
        us_per_image: time that an image took on the worker's machine, microseconds.
    """

    accuracy: float
    images: int
    us_per_image: float | None = None

    @property
    def standard_error(self) -> float:
        """Return the standard error of the accuracy, as of a binomial distribution."""
        return sqrt(self.accuracy * (1.0 - self.accuracy) / self.images)


@dataclass(frozen=True)
class Controls:
    """Accuracies without annealing.

    Attributes:
        network: of the network alone.
        random_bits: with them in place of reads.
        exact_minimum: of the class of the lowest energy; None for networks without a closed form of it.
    """

    network: Share
    random_bits: Share
    exact_minimum: Share | None = None


def spread(total: int, most: int) -> NDArray[np.intp]:
    """Return at most ``most`` of the indices below ``total``, evenly spread, ascending."""
    return np.unique(np.linspace(0, total - 1, min(total, most)).round().astype(np.intp))


def compute_controls(
    network: TrainedNetwork,
    parameters: Parameters,
    images: InputArray,
    labels: NDArray[np.int16],
    tiling: Tiling,
    most: int,
) -> Controls:
    """Return the controls of an accuracy on ``images`` (N >= 1, H, W) uint8 with ``labels`` (N,).

    Args:
        network, parameters: those of the run.
        tiling: chains that the images were laid on. Images are laid on its tiles in order.
        most: images with random bits, at least 1; fewer if there are many reads.

    Raises:
        ImageError: the network takes no such images.
    """
    from worker.network.objective import scores_of_features

    begun = perf_counter()
    features = network.features(images)
    image_us = 1e6 * (perf_counter() - begun) / len(images)  # which each of them needs
    model = network.model(parameters.visible, parameters.lam)
    begun = perf_counter()
    own = scores_of_features(network.module, features, network.transfer).argmax(axis=1)
    alone = _share(own == labels, begun, image_us)
    begun = perf_counter()
    linear = model.linear(features)
    image_us += 1e6 * (perf_counter() - begun) / len(images)
    chosen = spread(len(images), max(min(most, _MAX_VALUES // (parameters.reads * model.units)), 1))
    begun = perf_counter()
    right = _are_right(model, parameters, linear[chosen], labels[chosen], tiling)
    bits = _share(right, begun, image_us)
    begun = perf_counter()
    minima = class_minima(model, linear)
    exact = None if minima is None else _share(minima.argmin(axis=1) == labels, begun, image_us)
    return Controls(alone, bits, exact)


def _share(right: NDArray[np.bool_], begun: float, image_us: float) -> Share:
    """Return the share of ``right`` images, which took the time since ``begun`` and ``image_us`` each."""
    us = image_us + 1e6 * (perf_counter() - begun) / len(right)
    return Share(float(np.mean(right)), len(right), round(us, 1))


def _are_right(
    model: EnergyModel,
    parameters: Parameters,
    linear: NDArray[np.float64],
    labels: NDArray[np.int16],
    tiling: Tiling,
) -> NDArray[np.bool_]:
    """Return which images, of ``linear`` terms (n, units), random bits as qubits classify as labelled."""
    rng = np.random.default_rng((parameters.seed, _STREAM))
    block = min(tiling.tiles, max(_BLOCK_READS // parameters.reads, 1))
    right = np.empty(len(linear), np.bool_)
    for start in range(0, len(linear), block):
        part = slice(start, start + block)
        tiles = tiling.take(np.arange(len(linear[part])))
        physical = rng.integers(0, 256, (parameters.reads, -(-len(tiles.qubits) // 8)), dtype=np.uint8)
        reads = scoring.unembed_reads(model, linear[part], parameters, physical, tiles)
        scored = consensus.score(
            reads.class_bits,
            reads.energies,
            parameters.rule,
            parameters.fraction,
            parameters.beta,
            reads.occurrences,
        )
        right[part] = scored.predicted == labels[part]
    return right
