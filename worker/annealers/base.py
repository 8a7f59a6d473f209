"""Interface of the annealers in this process, and what they share.

Seeds belong to images, not to batches: image i of a run gets the same reads whichever batch it is in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from schema.errors import ParameterError
from schema.parameters import MAX_READS

if TYPE_CHECKING:
    from worker.qubo.energy_model import BitArray, EnergyModel, FloatArray
    from worker.qubo.noise import Noise

# A scale this small counts as zero: its inverse, a temperature, must stay finite.
_NOTHING = 1e-300


@dataclass(frozen=True, eq=False)
class LogicalSamples:
    """The reads of a batch, in the model's own units."""

    bits: BitArray  # (B, R, n) uint8 in {0, 1}, units in Q's order
    energies: FloatArray  # (B, R) float64, recomputed from the model
    elapsed_s: float  # wall-clock time of the sampling, seconds


class LocalAnnealer(Protocol):
    """Draws reads in this process; has frozen parameters of its own, and no state."""

    @property
    def name(self) -> str:
        """Return the solver's name, as users write it."""

    def check(self, model: EnergyModel) -> None:
        """Raise Refused, with unit counts, if ``model`` does not suit this annealer."""

    def sample(
        self,
        model: EnergyModel,
        linear: FloatArray,
        reads: int,
        seed: int,
        first_image: int = 0,
        noise: Noise | None = None,
        check_interrupt: Callable[[], None] | None = None,
    ) -> LogicalSamples:
        """Draw ``reads`` reads of every image of a batch.

        The reads of an image depend on model, linear terms, reads, seed, noise and its index in the run only.

        Args:
            model: what all images share.
            linear: (B, n) float64, linear terms of each image.
            seed: >= 0.
            first_image: index in the run of the batch's first image.
            noise: errors on each image's h and J while its reads are drawn; the energies of the reads are
                those without it.
            check_interrupt: called before each image; what it raises ends the sampling.

        Raises:
            Refused: as `check` says.
            ParameterError: an argument is out of range.
        """


def no_interrupt() -> None:
    """Interrupt nothing: the default of ``check_interrupt``."""


def check_request(model: EnergyModel, linear: FloatArray, reads: int, seed: int, first_image: int) -> None:
    """Raise ParameterError unless ``reads`` are 1 to 10,000, ``seed`` and ``first_image`` 0 or more.

    Also unless ``linear`` is (B, n) for ``model``, and finite. The limit of reads is that of D-Wave, so that
    a run can move between solvers.
    """
    if not 1 <= reads <= MAX_READS:
        raise ParameterError(f"reads must be 1 to {MAX_READS:,}, not {reads:,}")
    if seed < 0 or first_image < 0:
        raise ParameterError(f"seed and first image must be 0 or more, not {seed} and {first_image}")
    if linear.ndim != 2 or linear.shape[1] != model.units:
        raise ParameterError(f"the model takes linear terms (B, {model.units}), not {linear.shape}")
    if not np.isfinite(linear).all():
        raise ParameterError("linear terms must be finite; check the network's features")


def image_words(seed: int, first_image: int, images: int, words: int) -> NDArray[np.uint64]:
    """Return random words (images, words) uint64: row i depends on ``seed`` and ``first_image`` + i only.

    A run has one stream, in which every image owns the next ``words`` numbers (PCG64DXSM can jump ahead).
    """
    stream = np.random.PCG64DXSM(seed).advance(first_image * words)
    return np.asarray(stream.random_raw(images * words), dtype=np.uint64).reshape(images, words)


def coupling_scales(model: EnergyModel) -> tuple[float, float]:
    """Return the smallest and the largest energy scale of ``model``, for its temperatures; (1, 1) if all is
    0.

    A scale is the root mean square of the couplings between two layers, or of the fold matrix. The one-hot
    penalty counts for the largest only: the first, hot sweeps must overcome it, but the last, cold ones need
    not resolve it.
    """
    layer = np.repeat(np.arange(len(model.sizes)), model.sizes)
    blocks = layer[model.edges[:, 0]] * len(model.sizes) + layer[model.edges[:, 1]]
    last = len(model.sizes) ** 2 - 1
    between = np.unique(blocks[blocks < last])
    scales = [_root_mean_square(model.couplings[blocks == block]) for block in between]
    if model.fold is not None:
        scales.append(_root_mean_square(model.fold[model.fold != 0.0]))
    penalty = _root_mean_square(model.couplings[blocks == last])
    useful = [scale for scale in (*scales, penalty) if scale > _NOTHING]
    between_layers = [scale for scale in scales if scale > _NOTHING]
    return min(between_layers or useful, default=1.0), max(useful, default=1.0)


def _root_mean_square(values: FloatArray) -> float:
    largest = float(np.abs(values).max(initial=0.0))
    # Divided first: squares of very large or very small numbers leave the range of a float64.
    return largest * float(np.sqrt(np.mean((values / largest) ** 2))) if largest > _NOTHING else 0.0
