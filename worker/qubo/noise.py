"""Integrated control errors: Gaussian noise on the h and J that an analog annealer is programmed with.

D-Wave states such errors as fractions of the full range of h and of J. A model is scaled once, so that the
largest h and J that any image can give it fill those ranges, and all images are sampled at that scale. So the
range of h here is the largest |h| over all feature values that a network can give, and the range of J the
largest |J|. Both follow from the model alone, not from an image, nor from the cut of a run into batches.
Errors are drawn independently for each image, as for each programming of a QPU; all reads of the image share
them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from schema.errors import ParameterError
from worker.qubo.ising import binary_form, spin_form

if TYPE_CHECKING:
    from worker.qubo.energy_model import EnergyModel, FloatArray

# Key of the noise: the reads use the seed itself, without a key.
_STREAM = 1


@dataclass(frozen=True)
class Noise:
    """Independent Gaussian errors with mean 0 on each h and each J of the SPIN form.

    ``sigma_h`` and ``sigma_j`` are standard deviations >= 0 in the model's own units, ``seed`` is >= 0.
    """

    sigma_h: float
    sigma_j: float
    seed: int

    def errors(self, model: EnergyModel, image: int) -> tuple[FloatArray, FloatArray]:
        """Return what to add to h (n,) and J (m,) of the image with the index ``image`` in its run.

        Besides the size of ``model`` they depend on the seed and the index only.
        """
        key = np.random.SeedSequence(self.seed, spawn_key=(_STREAM, image))
        rng = np.random.Generator(np.random.PCG64DXSM(key))
        h = rng.normal(0.0, self.sigma_h, model.units)
        return h, rng.normal(0.0, self.sigma_j, len(model.couplings))

    def apply(self, model: EnergyModel, linear: FloatArray, image: int) -> tuple[EnergyModel, FloatArray]:
        """Return the noisy model and linear biases (n,) in BINARY form, for ``linear`` (n,) of ``image``.

        Only couplings of ``model`` change; its linear biases are those of the network.
        """
        h, J = self.errors(model, image)
        error = binary_form(h[np.newaxis], model.edges, J)
        return replace(model, couplings=model.couplings + error.couplings), linear + error.linear[0]


def noise_for(model: EnergyModel, alpha: float, fraction: float, seed: int) -> Noise | None:
    """Return noise whose standard deviations are ``fraction`` of the ranges of h and of J; None for 0.

    Args:
        model: what is sampled.
        alpha: > 0, the feature values of the model's network lie in [-alpha, alpha].
        fraction: 0 to 1.
        seed: of the noise.

    Raises:
        ParameterError: ``alpha`` or ``fraction`` is out of range.
    """
    if not 0.0 <= fraction <= 1.0:
        raise ParameterError(f"noise must be a fraction from 0 to 1 of the ranges of h and J, not {fraction}")
    if fraction == 0.0:
        return None
    h_range, J_range = spin_ranges(model, alpha)
    return Noise(fraction * h_range, fraction * J_range, seed)


def spin_ranges(model: EnergyModel, alpha: float) -> tuple[float, float]:
    """Return the largest |h| and |J| of ``model`` in SPIN form, over all features in [-alpha, alpha]^nv.

    Raises:
        ParameterError: ``alpha`` is not positive and finite.
    """
    J = model.couplings / 4.0
    return float(largest_h(model, alpha).max()), float(np.abs(J).max(initial=0.0))


def largest_h(model: EnergyModel, alpha: float) -> FloatArray:
    """Return the largest |h| (n,) float64 of each unit of ``model`` over all features in [-alpha, alpha]^nv.

    Raises:
        ParameterError: ``alpha`` is not positive and finite.
    """
    low, high = range_of_h(model, alpha)
    return np.maximum(-low, high)


def range_of_h(model: EnergyModel, alpha: float) -> tuple[FloatArray, FloatArray]:
    """Return the lowest and the highest h of each unit of ``model``, (n,) float64 each, over all features in
    [-``alpha``, ``alpha``]^nv.

    Each h_i (SPIN form) is linear in the features. So its extremes are its value for features 0 plus and
    minus ``alpha`` times the sum of the absolute slopes.

    Raises:
        ParameterError: ``alpha`` is not positive and finite.
    """
    if not (np.isfinite(alpha) and alpha > 0.0):
        raise ParameterError(f"alpha must be a finite number above 0, not {alpha}")
    if model.fold is None:
        reach = np.where(np.arange(model.units) < model.feature_count, alpha, 0.0)
    else:
        reach = alpha * np.abs(model.fold).sum(axis=0)
    middle = spin_form(model.bias[np.newaxis], model.edges, model.couplings).h[0]
    return middle - reach / 2.0, middle + reach / 2.0
