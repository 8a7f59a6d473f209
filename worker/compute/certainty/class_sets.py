"""Computes sets of classes that hold the right one with a chosen probability: split-conformal prediction.

Vovk, Gammerman and Shafer 2005, Algorithmic learning in a random world; Angelopoulos and Bates 2021, A gentle
introduction to conformal prediction, arXiv 2107.07511. The nonconformity of class k of an image is
E_k - min_j E_j of its class energies, see `gaps.class_energies`. With n labelled images that were read in the
same way as those to classify, a class is in the set if its nonconformity is at most the
ceil((n + 1) confidence)-th smallest of the n right classes. If all images are exchangeable, the set holds the
right class with a probability from the confidence to the confidence + 1 / (n + 1), whatever the energies are.

Many right classes have nonconformity 0. Among equal values a random number of each image decides (smoothed
conformal prediction: Vovk et al., eq. 2.20): without it sets would hold the right class more often than asked
for. A class of nonconformity s is in the set if #(s_i > s) + u #(s_i = s) + 1 > (1 - confidence) (n + 1).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schema.codecs.nonconformity import Nonconformity, ReadsHad, least_images
from schema.errors import ParameterError
from schema.parameters import Parameters

FloatArray = NDArray[np.float64]

# Steele, Lea and Flood 2014, Fast splittable pseudorandom number generators (SplitMix64).
_STEP = np.uint64(0x9E3779B97F4A7C15)
_FACTORS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_SHIFTS = (np.uint64(30), np.uint64(27), np.uint64(31))
_EXACT = 1e-9  # (1 - confidence) (n + 1) is a whole number if it is as close to one


@dataclass(frozen=True, eq=False)
class Calibrated:
    """Nonconformity of the images that were calibrated with, to compare that of each class with."""

    scores: tuple[FloatArray, ...]  # (n_k,) float64 for each class k, ascending
    confidence: float


def random_numbers(seed: int, images: NDArray[np.integer]) -> FloatArray:
    """Return a uniform random number (B,) float64 in [0, 1) for each of ``images`` (B,) by its index.

    It depends on ``seed`` and the index alone: an image that is scored again has the same.
    """
    start = _mixed(np.array([seed], np.uint64) + _STEP)
    numbers = _mixed(start + (images.astype(np.uint64) + np.uint64(1)) * _STEP)
    return np.asarray((numbers >> np.uint64(11)).astype(np.float64) * 2.0**-53)


def nonconformity(energies: FloatArray) -> FloatArray:
    """Return E_k - min_j E_j (B, K) float64 of class ``energies`` (B, K); inf stays inf."""
    lowest = energies.min(axis=1, keepdims=True)
    known = np.isfinite(energies)
    return np.asarray(np.subtract(energies, lowest, out=np.full_like(energies, np.inf), where=known))


def of_labels(energies: FloatArray, labels: NDArray[np.integer]) -> FloatArray:
    """Return the nonconformity (B,) float64 of the right classes ``labels`` (B,) by ``energies`` (B, K)."""
    return np.asarray(nonconformity(energies)[np.arange(len(labels)), labels])


def fit(
    scores: FloatArray,
    labels: NDArray[np.integer],
    classes: int,
    confidence: float,
    *,
    by_class: bool = False,
) -> Calibrated:
    """Return what decides about sets of ``classes`` classes for ``confidence``, by n images.

    Args:
        scores: (n,) float64, nonconformity of their right classes.
        labels: (n,), their right classes.
        by_class: each class is compared with its own images, so that these have the confidence, too.

    Raises:
        ParameterError: there are too few images, or too few of a class.
    """
    least = least_images(confidence)
    if not by_class:
        _refuse_few(len(scores), least, confidence, "")
        return Calibrated((np.sort(scores),) * classes, confidence)
    apart = tuple(np.sort(scores[labels == k]) for k in range(classes))
    for k, own in enumerate(apart):
        _refuse_few(len(own), least, confidence, f" of class {k}")
    return Calibrated(apart, confidence)


def choose(energies: FloatArray, calibrated: Calibrated, numbers: FloatArray) -> NDArray[np.bool_]:
    """Return which classes are in the set of each image, (B, K) bool; sets may be empty.

    Args:
        energies: (B, K), of the classes.
        calibrated: of the confidence.
        numbers: (B,), random, of the images.
    """
    scores = nonconformity(energies)
    sets = np.empty(scores.shape, np.bool_)
    for k, (column, known) in enumerate(zip(scores.T, calibrated.scores, strict=True)):
        above = np.searchsorted(known, column, "right")
        equal = above - np.searchsorted(known, column, "left")
        excess = (1.0 - calibrated.confidence) * (len(known) + 1)
        sets[:, k] = len(known) - above + numbers * equal + 1.0 > excess + _EXACT
    return sets


def fill_empty(
    sets: NDArray[np.bool_], energies: FloatArray, predicted: NDArray[np.int16]
) -> NDArray[np.bool_]:
    """Return ``sets`` (B, K) in which the empty ones hold the winner, so that coverage can only rise.

    Args:
        sets: as `choose` returns them.
        energies: (B, K): without a winner it is the class of the lowest energy.
        predicted: (B,), class or -1.
    """
    winner = np.where(predicted >= 0, predicted, energies.argmin(axis=1))
    filled = sets.copy()
    empty = np.flatnonzero(~sets.any(axis=1))
    filled[empty, winner[empty]] = True
    return filled


def limit_of(calibrated: Calibrated) -> float:
    """Return the largest nonconformity that a class in a set can have; inf: any.

    By class it is the largest of all classes. An image whose energy gap is above it has one class in its set.
    So images with several classes have a gap up to it, and more reads may change that. An empty set no reads
    can change: the lowest class has nonconformity 0 by any reads, and the random number of the image decides.
    """
    limits = []
    for scores in calibrated.scores:
        # A class that fewer calibrated ones are as bad as, or worse, is in no set: see `choose`.
        as_bad = int((1.0 - calibrated.confidence) * (len(scores) + 1) + _EXACT)
        limits.append(float(scores[max(len(scores) - max(as_bad, 1), 0)]))
    return max(limits)


def _refuse_few(images: int, least: int, confidence: float, which: str) -> None:
    if images < least:
        raise ParameterError(
            f"confidence {confidence:g} needs {least:,} validation images{which} or more, and the "
            f"calibration has {images:,}: calibrate with more images, or choose a lower confidence"
        )


def _mixed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return ``numbers`` after the mixing steps of SplitMix64; arithmetic is modulo 2^64."""
    mixed = (numbers ^ (numbers >> _SHIFTS[0])) * _FACTORS[0]
    mixed = (mixed ^ (mixed >> _SHIFTS[1])) * _FACTORS[1]
    return np.asarray(mixed ^ (mixed >> _SHIFTS[2]))


@dataclass(frozen=True, eq=False)
class SetRule:
    """How the images of a run get their sets of classes: by a calibration, and the run's ``seed``."""

    calibrated: Calibrated
    seed: int

    @classmethod
    def of(
        cls, parameters: Parameters, known: Nonconformity, had: ReadsHad, plan: str, classes: int
    ) -> SetRule:
        """Return the rule of a run with ``parameters``, which have a confidence.

        Args:
            known: nonconformity of its calibration.
            had: reads that the images of the run had so far.
            plan: of the whole run, see `schema.codecs.nonconformity.plan_name`: a calibration of an earlier
                version knows nothing else.
            classes: their number.

        Raises:
            ParameterError: the calibration has not these reads, or too few images.
        """
        scores = known.plans.get(plan) if known.plans else known.scores(had)
        if scores is None:
            raise ParameterError(
                f"the calibration has no scores for reads and rounds {plan}: calibrate again"
            )
        confidence, by_class = parameters.confidence or 0.0, parameters.by_class
        fitted = fit(scores, known.labels, classes, confidence, by_class=by_class)
        return cls(fitted, parameters.seed)

    @property
    def limit(self) -> float:
        """Return the largest energy gap of an image whose set may have several classes."""
        return limit_of(self.calibrated)

    def sets(
        self, energies: FloatArray, predicted: NDArray[np.int16], images: NDArray[np.integer]
    ) -> NDArray[np.bool_]:
        """Return the set of each image, (B, K) bool; an empty one holds the winner.

        Args:
            energies: (B, K), of the classes.
            predicted: (B,), class or -1.
            images: (B,), their indices within the run.
        """
        chosen = choose(energies, self.calibrated, random_numbers(self.seed, images))
        return fill_empty(chosen, energies, predicted)
