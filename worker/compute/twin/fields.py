"""Field errors of chains and errors of couplings, by maximum pseudolikelihood (Besag 1975).

The local field of a chain is h (1 + g) + d + sum_j (J_j + e_j) s_j, with h and J as sent, the field error d,
the error g of its gain, the errors e_j of the couplings to its neighbors, and their spins s_j. d, g and e
have Gaussian priors; the variance of d is fitted, too.
Without spin reversals (`--gauge`) d and the mean of e_j s_j can hardly be told apart where neighbors have the
same value in most reads: their sum, which is what such problems feel, is as certain then as it was.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worker.compute.twin.night import Night, NightProblem
from worker.compute.twin.temperature import AlongFields, ChipTemperature

FloatArray = NDArray[np.float64]

# Standard deviations for a qubit's h and a coupler's J that the fit begins with, in units of h and J: those
# that D-Wave states are 0.01 to 0.025 and 0.0095 to 0.0155 (errors.rst in the Ocean SDK's documentation).
_H_SD, _J_SD = 0.015, 0.01
_GAIN_SD = 0.01  # "h slope" in errors.rst
_LEAST_SD = 0.001
# With more units the sums over pairs of neighbors take too much memory, and couplings count as exact.
_MOST_UNITS = 64
_EM_STEPS = 200
_ABSENT = 1e-12  # variance of a coupling that does not exist


@dataclass(frozen=True, eq=False)
class FieldErrors:
    """Errors of the k tiles of n units of an embedding.

    Attributes:
        fields: (k, n) float64, d of each chain, the sum over its qubits, in units of h.
        spreads: (k, n) float64, standard errors of these.
        gains: (k, n) float64, g of each chain.
        couplings: (k, n, n) float64, e of each pair of chains, in units of J; symmetric.
        h_sd: standard deviation of the persistent field error of a qubit.
        reliability: (k, n) float64 in [0, 1], share of a chain's variance that its reads explain.
    """

    fields: FloatArray
    spreads: FloatArray
    gains: FloatArray
    couplings: FloatArray
    h_sd: float
    reliability: FloatArray

    @property
    def tile_errors(self) -> FloatArray:
        """Return the root mean square of the field errors (k,) of each tile, those of couplings included.

        A coupling counts as if its neighbor always had the same value.
        """
        totals = self.fields**2 + (self.couplings**2).sum(axis=2)
        return np.asarray(np.sqrt(totals.mean(axis=1)), np.float64)

    @classmethod
    def none(cls, night: Night) -> FieldErrors:
        """Return those of a chip without errors."""
        k, n = night.lengths.shape
        zeros = np.zeros((k, n))
        return cls(zeros, np.full((k, n), np.inf), zeros, np.zeros((k, n, n)), _H_SD, zeros)


def histogram(night: Night, errors: FieldErrors, every: int = 1) -> AlongFields:
    """Return how far the spins of short chains point along their fields, with these ``errors``.

    Args:
        every: one problem of that many is examined.
    """
    found = AlongFields()
    for problem in night.problems[::every]:
        spins = problem.spins
        along = -spins * (problem.fields(spins) + _added(errors, problem, spins))
        found.add(along.transpose(0, 2, 1)[night.is_short[problem.tiles]])
    return found


def fit_fields(night: Night, errors: FieldErrors, chip: ChipTemperature) -> FieldErrors:
    """Return the errors after one step of Newton's method from ``errors``.

    It takes about 25 ms of processor time for a problem of 1,750 units and 100 reads.

    Args:
        night: the reads.
        errors: to begin with.
        chip: its temperature.
    """
    k, n = night.lengths.shape
    fits_couplings = n <= _MOST_UNITS
    p = n + 2 if fits_couplings else 2
    slope, information = np.zeros((k, n, p)), np.zeros((k, n, p, p))
    for problem in night.problems:
        spins = problem.spins
        by_x, weight = _derivatives(problem.fields(spins) + _added(errors, problem, spins), spins, chip)
        known = np.ones((*spins.shape[:2], 1), np.float32)
        inputs = np.concatenate((known, spins), axis=2) if fits_couplings else known
        by_input = np.matmul(by_x.transpose(0, 2, 1), inputs)
        slope[problem.tiles] += _with_gain(by_input, problem.h)
        for image, tile in enumerate(problem.tiles):
            weighted = weight[image].T[:, :, np.newaxis] * inputs[image]
            by_pair = _with_gain(np.matmul(weighted.transpose(0, 2, 1), inputs[image]), problem.h[image])
            information[tile] += _with_gain(by_pair.transpose(0, 2, 1), problem.h[image])
    variances = _prior(night, errors.h_sd, p)
    start = np.concatenate((np.stack((errors.fields, errors.gains), axis=2), errors.couplings), axis=2)
    start = start[..., :p]
    precision = information + np.eye(p) / variances[..., np.newaxis, :]
    step = np.linalg.solve(precision, (slope - start / variances)[..., np.newaxis])[..., 0]
    variance = np.asarray(np.linalg.inv(precision)[..., 0, 0], np.float64)
    return _settled(night, np.asarray(start + step, np.float64), variance, errors.h_sd)


def scores(
    night: Night, errors: FieldErrors, chip: ChipTemperature
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return derivative and information of the log likelihood by the field of each chain in each problem.

    Returns:
        Two arrays (problems, k, n) float32; 0 where a problem does not use a tile.
    """
    shape = (len(night.problems), *night.lengths.shape)
    slopes, information = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    for number, problem in enumerate(night.problems):
        spins = problem.spins
        by_x, weight = _derivatives(problem.fields(spins) + _added(errors, problem, spins), spins, chip)
        slopes[number, problem.tiles] = by_x.sum(axis=1)
        information[number, problem.tiles] = weight.sum(axis=1)
    return slopes, information


def _with_gain(values: NDArray[np.float32], h: NDArray[np.float32]) -> NDArray[np.float32]:
    """Insert what belongs to the gain of a chain, whose input is its field.

    Args:
        values: (..., n, m) or (..., n, m, p), whose axis m begins with the input 1; the chains are before it.
        h: (..., n).

    Returns:
        The same with m + 1 inputs, the second of which is h.
    """
    axis = h.ndim
    first = np.take(values, [0], axis=axis)
    gain = first * h.reshape(h.shape + (1,) * (values.ndim - axis))
    rest = np.delete(values, 0, axis=axis)
    return np.concatenate((first, gain, rest), axis=axis)


def _added(errors: FieldErrors, problem: NightProblem, spins: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the fields (i, R, n) that ``errors`` add to ``problem`` for ``spins``."""
    by_couplings = np.matmul(spins, errors.couplings[problem.tiles].astype(np.float32))
    fixed = errors.fields[problem.tiles] + errors.gains[problem.tiles] * problem.h
    return np.asarray(by_couplings + fixed.astype(np.float32)[:, np.newaxis], np.float32)


def _derivatives(
    fields: NDArray[np.float32], spins: NDArray[np.float32], chip: ChipTemperature
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the derivative of the log likelihood by each local field (i, R, n), and the information."""
    by_x, information = chip.slope_and_information(-spins * fields)
    return -spins * by_x, information


def _prior(night: Night, h_sd: float, p: int) -> FloatArray:
    """Return the prior variances (k, n, p) of field error, gain and errors of couplings of each chain."""
    variances = np.empty((*night.lengths.shape, p))
    variances[..., 0] = night.lengths * h_sd**2
    variances[..., 1] = _GAIN_SD**2 / night.lengths
    if p > 2:
        variances[..., 2:] = np.maximum(night.couplers * _J_SD**2, _ABSENT)
    return variances


def _settled(night: Night, values: FloatArray, variance: FloatArray, h_sd: float) -> FieldErrors:
    """Return the errors of fitted ``values`` (k, n, p), whose first has this ``variance`` (k, n)."""
    k, n = night.lengths.shape
    fields = values[..., 0]
    couplings = np.zeros((k, n, n))
    if values.shape[2] > 2:
        # Both chains of a pair state the error of their coupling.
        couplings = (values[..., 2:] + values[..., 2:].transpose(0, 2, 1)) / 2.0
    total = night.lengths * h_sd**2
    reliability = np.clip(1.0 - variance / total, 0.0, 1.0)
    fitted_sd = _h_sd(fields, variance, night.lengths, h_sd)
    return FieldErrors(fields, np.sqrt(variance), values[..., 1], couplings, fitted_sd, reliability)


def _h_sd(fields: FloatArray, variance: FloatArray, lengths: NDArray[np.intp], h_sd: float) -> float:
    """Return the standard deviation of a qubit's field error that explains ``fields`` (k, n) best.

    This is expectation maximisation for Gaussian field errors, whose estimates have Gaussian errors.

    Args:
        fields: estimates with a prior of ``h_sd`` for each of the qubits of a chain (``lengths``).
        variance: (k, n) of these, with that prior.
    """
    information = np.maximum(1.0 / variance - 1.0 / (lengths * h_sd**2), 1e-9)
    unbiased = fields / variance / information
    fitted = h_sd**2
    for _ in range(_EM_STEPS):
        posterior = 1.0 / (information + 1.0 / (lengths * fitted))
        fitted = float((((posterior * information * unbiased) ** 2 + posterior) / lengths).mean())
    return max(float(np.sqrt(fitted)), _LEAST_SD)
