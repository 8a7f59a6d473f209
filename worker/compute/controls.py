"""Computes what stands beside an accuracy on qubits: the network's own, and that of random bits.

Some rules for chains and reads are partly classical descent, so that an accuracy says little of the annealer
alone. Random bits, one for each qubit, pass through the same unembedding and the same consensus rule as
reads: the difference to them is what annealing did. The network's own accuracy is what it can reach at best.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from schema.codecs.tiling import Tiling
from schema.parameters import Parameters
from worker.compute import consensus, scoring
from worker.network import inference
from worker.network.trained import TrainedNetwork

MAX_OWN = 2_000  # images of a forward pass: 0.2 ms each of `mnist`, 0.6 ms of `conv358`
_MAX_VALUES = 5_000_000  # of units in all reads of random bits together: 1 s
_BLOCK_READS = 20_000  # at a time
_STREAM = 0xC0  # tells these random numbers from others of the same seed


@dataclass(frozen=True)
class Share:
    """Share of images that are right; undecided ones count as wrong."""

    accuracy: float
    images: int

    @property
    def standard_error(self) -> float:
        """Return the standard error of the accuracy, as of a binomial distribution."""
        return sqrt(self.accuracy * (1.0 - self.accuracy) / self.images)


@dataclass(frozen=True)
class Controls:
    """Accuracies without annealing: ``network`` of the network alone, ``random_bits`` in place of reads."""

    network: Share
    random_bits: Share


def spread(total: int, most: int) -> NDArray[np.intp]:
    """Return at most ``most`` of the indices below ``total``, evenly spread, ascending."""
    return np.unique(np.linspace(0, total - 1, min(total, most)).round().astype(np.intp))


def compute_controls(
    network: TrainedNetwork,
    parameters: Parameters,
    images: NDArray[np.uint8],
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
    own = inference.classify(network.architecture, network.weights, images, network.transfer)
    units = network.model(parameters.visible, parameters.lam).units
    chosen = spread(len(images), max(min(most, _MAX_VALUES // (parameters.reads * units)), 1))
    right = _count_random(network, parameters, images[chosen], labels[chosen], tiling)
    return Controls(
        Share(float(np.mean(own == labels)), len(images)), Share(right / len(chosen), len(chosen))
    )


def _count_random(
    network: TrainedNetwork,
    parameters: Parameters,
    images: NDArray[np.uint8],
    labels: NDArray[np.int16],
    tiling: Tiling,
) -> int:
    """Count the ``images`` (n, H, W) whose class is the label when every qubit is a random bit."""
    model = network.model(parameters.visible, parameters.lam)
    linear = model.linear(network.features(images))
    rng = np.random.default_rng((parameters.seed, _STREAM))
    block = min(tiling.tiles, max(_BLOCK_READS // parameters.reads, 1))
    right = 0
    for start in range(0, len(images), block):
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
        right += int(np.count_nonzero(scored.predicted == labels[part]))
    return right
