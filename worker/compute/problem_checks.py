"""Measures a chip by the reads of ordinary problems, and finds problems that were programmed wrongly.

D-Wave states that over 90 % of problems of the size of a chip are programmed without an error: the others
give wrong answers for all of their images, and nothing in the answer says so. Their reads do. With the local
fields f = scale (h + J s) of the units as sent, reads s in {-1, +1}, and x = -s f (positive where a unit
points along its field), these are measured for each problem:

    coupling_bias  field that couplers of |J| = 1 put on a qubit: strong chains pull their qubits one way
    bias_error     its standard error
    beta           effective inverse temperature of the chip
    chain_breaks   mean share of broken chains
    excess         mean over images of (mean energy - lowest energy) of the reads
    fields         sum_i (u_i^2 - v_i) / sum_i v_i, u_i = sum_r (s - tanh(-beta f)), v_i = sum_r of its
                   variance: units whose field is not what was sent point too often one way

A problem is suspect if two of the last four are not what is usual. Bias and beta have maximum
pseudolikelihood (Besag 1975), as the temperature has by Ocean's `maximum_pseudolikelihood_temperature`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import asinh, log

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
SpinArray = NDArray[np.float32]

LIMIT = 6.0  # of a robust z: a Gaussian exceeds it once in a billion
LEAST = 16  # problems to compare with; fewer do not show what is usual
_UNSURE = 10.0  # with that many problems the limit is twice as high, since their spread is not known well
_SAMPLES = 40_000  # values of units that are examined: more take time and show no more
_FITTED = 8_000  # of these, by which bias and beta are fitted; all of them improve that fit by one step
_TO_SIGMA = 1.4826  # of a median absolute deviation, for a Gaussian
# A statistic that never varies, such as no broken chain at all, must not make the least change suspect.
_LEAST_SPREAD = (0.05, 0.2, 0.1, 0.2)
_LEAST_VARIANCE = 10.0  # of the sum of the variances of all units and reads
_COLDEST = 50.0  # beta; D-Wave's coldest chip has 8.9
_LARGEST_BIAS = 0.2  # ten times what is usual
_PRIOR = np.array([1e-6, 0.5])  # precision of beta and beta b: the latter is 0, but for what the reads say
_HALVINGS = 20
_ENOUGH = 1e-3  # gain of the log of the likelihood, of which chance makes up about 1
_STEPS = 25  # of Newton's method at most
_FACTORS = 512  # of up to 2: their product is far below the largest float64
_LONGEST_STEP = 0.3  # of beta, by all reads


@dataclass(frozen=True)
class ProblemCheck:
    """What the reads of one problem say about the chip; see the module."""

    coupling_bias: float
    bias_error: float  # standard error of the former
    beta: float
    chain_breaks: float
    excess: float
    fields: float

    @property
    def compared(self) -> tuple[float, ...]:
        """Return the four statistics that are compared, so that each grows with the errors of a chip.

        They are logarithms: the statistics of problems with few images vary by factors, as images do.
        """
        beta, excess = max(self.beta, 1e-3), max(self.excess, 0.0)
        return -log(beta), log(self.chain_breaks + 1e-3), log(excess + 1e-2), asinh(self.fields)


@dataclass(frozen=True, eq=False)
class SentProblem:
    """The units of one problem as they were sent, and how strongly couplers surround their chains.

    Attributes:
        h: (k, n) float64, linear biases of each image in SPIN form, scaled.
        J: (n, n) float64, symmetric, quadratic biases, scaled.
        coupled: (k, n) float64, sum of |J| over the couplers at the qubits of each chain, those of the chain
            itself counted at both of their qubits; scaled. Negative where the spins of the chain were
            reversed.
    """

    h: FloatArray
    J: FloatArray
    coupled: FloatArray


def examined_reads(reads: int, values: int) -> int:
    """Return how many of the ``reads`` of a problem are examined, with ``values`` units in all images."""
    return min(reads, max(1, _SAMPLES // values))


def check_problem(
    bits: NDArray[np.uint8],
    sent: SentProblem,
    *,
    chain_breaks: float,
    excess: float,
) -> ProblemCheck:
    """Measure a problem.

    Args:
        bits: (k, R, n) uint8, reads of its units.
        sent: the problem.
        chain_breaks: mean share of broken chains.
        excess: mean over images of (mean energy - lowest energy), in the model's units.
    """
    reads = examined_reads(bits.shape[1], sent.h.size)
    spins = bits[:, :reads].astype(np.float32) * np.float32(2.0) - np.float32(1.0)
    fields = spins @ sent.J.astype(np.float32) + sent.h.astype(np.float32)[:, np.newaxis]
    coupled = np.broadcast_to(sent.coupled.astype(np.float32)[:, np.newaxis], fields.shape)
    fitted = np.s_[:, : max(1, _FITTED // sent.h.size)]
    along, along_coupled = -spins * fields, -spins * coupled
    beta, bias, error = fit_chip(along[fitted], along_coupled[fitted])
    weight = 1.0 / (1.0 + np.exp(np.clip(2.0 * beta * (along + bias * along_coupled), -80.0, 80.0)))
    # s - t with t = tanh(-beta f) is 2 s w with this weight w, and 1 - t^2 is 4 w (1 - w).
    surplus = (2.0 * spins * weight).sum(axis=1, dtype=np.float64)
    variance = (4.0 * weight * (1.0 - weight)).sum(axis=1, dtype=np.float64)
    # Reads that hardly ever leave their fields say nothing about errors of these.
    spread = float((surplus**2 - variance).sum()) / max(float(variance.sum()), _LEAST_VARIANCE)
    beta, bias, error = _improve(beta, bias, error, np.stack((along.ravel(), along_coupled.ravel())), weight)
    return ProblemCheck(bias, error, beta, chain_breaks, excess, spread)


def fit_chip(along: NDArray[np.floating], along_coupled: NDArray[np.floating]) -> tuple[float, float, float]:
    """Return beta >= 0, the coupling bias b and the standard error of b, by maximum pseudolikelihood.

    They maximise the sum of log(1 / (1 + exp(-2 beta (x + b y)))), a logistic regression, by Newton's method.
    Reads that no field explains give beta 0. Reads that all follow their fields would have an infinite one:
    beta is 50 at most, and b from -0.2 to 0.2.

    Args:
        along: x = -s f of all units and reads, any shape.
        along_coupled: y = -s c with the sum c of |J| at the unit's chain, the same shape.
    """
    table = np.stack((along.ravel(), along_coupled.ravel())).astype(np.float64)
    low, high = np.array([0.0, -_COLDEST]), np.array([_COLDEST, _COLDEST])
    theta = np.array([1.0, 0.0])  # beta, beta b
    likelihood, weight = _likelihood(theta, table)
    if likelihood < -log(2.0) / 2.0 * table.shape[1]:
        # That of 0: reads follow no field, and steps from beta 1 would lead far away along the bound of beta.
        theta = np.zeros(2)
        likelihood, weight = _likelihood(theta, table)
    curvature = np.eye(2)
    for _ in range(_STEPS):
        slope = table @ weight - _PRIOR * theta
        curvature = (table * (2.0 * weight * (1.0 - weight))) @ table.T + np.diag(_PRIOR)
        # What would leave its range stays at the end of it, and the other takes its own step.
        leaves = ((theta <= low) & (slope < 0.0)) | ((theta >= high) & (slope > 0.0))
        free = ~leaves
        step = np.linalg.solve(np.where(np.outer(free, free), curvature, np.eye(2)), slope * free)
        better, weight_there = likelihood, weight
        for _ in range(_HALVINGS):  # a full step may pass the maximum, which is unique
            trial = np.clip(theta + step, low, high)
            better, weight_there = _likelihood(trial, table)
            if better >= likelihood:
                break
            step = step / 2.0
        else:
            break
        gained, theta, likelihood, weight = better - likelihood, trial, better, weight_there
        if gained < _ENOUGH:
            break
    return _values(theta, curvature)


def _values(theta: FloatArray, curvature: FloatArray) -> tuple[float, float, float]:
    """Return beta, b and the standard error of b, of beta and beta b (``theta``)."""
    beta = max(float(theta[0]), 1e-3)
    # The curvature is half of the Fisher information.
    error = float(np.sqrt(np.linalg.inv(2.0 * curvature)[1, 1])) / beta
    return float(theta[0]), float(np.clip(theta[1] / beta, -_LARGEST_BIAS, _LARGEST_BIAS)), min(error, 1.0)


def _improve(
    beta: float, bias: float, error: float, table: NDArray[np.float32], weight: NDArray[np.floating]
) -> tuple[float, float, float]:
    """Return a fit to some reads after one step of Newton's method with all of them.

    One step from a consistent estimate is as precise as the maximum (Le Cam 1956). A step that is longer than
    the fit is uncertain is not taken: reads that hardly ever leave their fields have a flat likelihood.

    Args:
        table: (2, N) float32, x and y of all units and reads; see `fit_chip`.
        weight: of all units and reads, at this fit, any shape.
    """
    theta, weight = np.array([beta, beta * bias]), weight.ravel().astype(np.float32)
    slope = (table @ weight).astype(np.float64) - _PRIOR * theta
    curved = (table * (2.0 * weight * (1.0 - weight))) @ table.T
    curvature = curved.astype(np.float64) + np.diag(_PRIOR)
    step = np.linalg.solve(curvature, slope)
    if beta <= 0.0 or abs(step[0]) > _LONGEST_STEP * beta:
        return beta, bias, error
    return _values(np.clip(theta + step, -_COLDEST, _COLDEST), curvature)


def _likelihood(theta: FloatArray, table: FloatArray) -> tuple[float, FloatArray]:
    """Return half of the log of the pseudolikelihood, with its prior, and the weight of each read of a unit.

    With z = 2 (beta x + beta b y) these are -log(1 + exp(-z)) / 2, added up, and 1 / (1 + exp(z)), (N,). Both
    come from one exp(-|z|), and one logarithm serves many factors 1 + exp(-|z|), which are 2 at most.
    """
    z = 2.0 * (theta @ table)
    small = np.exp(-np.abs(z))
    factors = 1.0 + small
    whole = len(factors) // _FACTORS * _FACTORS
    products = np.multiply.reduce(factors[:whole].reshape(_FACTORS, -1), axis=0)
    logs = np.log(products).sum() + np.log(factors[whole:]).sum() - np.minimum(z, 0.0).sum()
    likelihood = -logs / 2.0 - (_PRIOR * theta**2).sum() / 2.0
    return float(likelihood), np.where(z < 0.0, 1.0, small) / factors


def suspicions(
    checks: Sequence[ProblemCheck], earlier: Sequence[ProblemCheck], *, limit: float = LIMIT
) -> list[float]:
    """Return how far each of ``checks`` is from what is usual, in robust standard deviations; 0 if within.

    A problem is compared with all others of ``checks`` and ``earlier``, of which fewer than half may be
    wrong: with their median and median absolute deviation. With fewer than `LEAST` others nothing is suspect.

    Args:
        checks: of the problems to judge.
        earlier: of good problems of the same tiling, network and number of reads.
        limit: robust z above which a statistic is suspect, if many problems show what is usual.
    """
    if len(checks) + len(earlier) <= LEAST:
        return [0.0] * len(checks)
    table = np.array([check.compared for check in (*earlier, *checks)])
    middle = np.median(table, axis=0)
    spread = _TO_SIGMA * np.median(np.abs(table - middle), axis=0)
    z = (table[len(earlier) :] - middle) / np.maximum(spread, _LEAST_SPREAD)
    # Errors of a chip raise several of them; chance, such as one rare flip, raises one.
    worst = np.sort(z, axis=1)[:, -2]
    limit *= 1.0 + _UNSURE / len(table)
    return [float(value) if value > limit else 0.0 for value in worst]
