"""One network sampled in one way: a table of scores, and accuracy against reads and noise."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from producer.images.imageset import ImageSet
from producer.reproduction import baseline
from producer.reproduction.charts import Curve
from producer.reproduction.scores import ScoreTable
from schema.parameters import Parameters, Solver

_NEAR = 0.001  # accuracies closer than 0.1 points count as equal in the search for the fewest reads


@dataclass(frozen=True, eq=False)
class ExperimentRun:
    """Images to classify: by which network, solver and parameters."""

    network: str
    images: ImageSet
    parameters: Parameters
    solver: Solver = Solver.LOCAL


@dataclass(frozen=True, eq=False)
class ExperimentResult:
    """A finished run.

    Attributes:
        labels, predicted: (N,) int64, -1 where unknown and where undecided.
        scores: (N, K) float64, 0 to 100.
        one_hot_fraction: mean share of reads with exactly one class unit on.
        sampling_us: microseconds inside the annealer for one image on one core.
    """

    run_id: int
    network: str
    parameters: dict[str, Any]
    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    scores: NDArray[np.float64]
    one_hot_fraction: float
    sampling_us: float
    images_per_second: float

    @property
    def right(self) -> int:
        return int(((self.predicted == self.labels) & (self.labels >= 0)).sum())

    @property
    def accuracy(self) -> float:
        """Return the share of images predicted right; undecided ones count as wrong."""
        return self.right / len(self.labels)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON, without the images."""
        return {
            "run_id": self.run_id,
            "reads": self.parameters["reads"],
            "noise": self.parameters["noise"],
            "images": len(self.labels),
            "right": self.right,
            "accuracy": self.accuracy,
            "undecided": int((self.predicted < 0).sum()),
            "one_hot_fraction": self.one_hot_fraction,
        }


@dataclass(frozen=True)
class Scale:
    """The amount of sampling of an experiment.

    Attributes:
        reads: for tables and whole data sets.
        fewer: other numbers of reads, for comparison.
        noise: fractions of the ranges of h and J, each sampled with noise_reads reads.
        draws: draws of the errors for each noise, as one draw over a few hundred images is off by a point
            or more.
        limit: images of the data set; None: all.
    """

    reads: int
    fewer: tuple[int, ...] = ()
    noise: tuple[float, ...] = ()
    noise_reads: int = 100
    draws: int = 3
    limit: int | None = None

    def changed(self, reads: int | None, limit: int | None) -> Scale:
        """Return the scale with another number of ``reads`` or images (``limit``); None changes nothing."""
        reads, limit = reads or self.reads, limit or self.limit
        fewer = tuple(some for some in self.fewer if some < reads)
        return replace(self, reads=reads, fewer=fewer, noise_reads=min(reads, self.noise_reads), limit=limit)

    def part(self, images: ImageSet) -> ImageSet:
        """Return as many of ``images`` as this scale takes."""
        return images if self.limit is None else images.limit(self.limit)


@dataclass(frozen=True, eq=False)
class Trial:
    """One network sampled in one way.

    Attributes:
        chosen: the images of ``table``.
        whole: the data set at the scale's reads.
        own: the network without an annealer on the data set.
        by_reads, by_noise: the data set again, in the order of reads and of noise; several draws of the
            errors
            for each noise.
    """

    label: str
    table: ScoreTable
    chosen: ExperimentResult
    whole: ExperimentResult
    own: baseline.Baseline
    by_reads: tuple[ExperimentResult, ...]
    by_noise: tuple[tuple[ExperimentResult, ...], ...]

    @property
    def fewest_reads(self) -> int:
        """Return the fewest reads whose accuracy is within 0.1 points of the accuracy at the most reads."""
        most = self.by_reads[-1].accuracy
        near = (run for run in self.by_reads if run.accuracy >= most - _NEAR)
        return min(int(run.parameters["reads"]) for run in near)

    def runs_by(self, by: str) -> tuple[tuple[ExperimentResult, ...], ...]:
        """Return the runs ``by`` "reads" or "noise"; none where none were requested."""
        return tuple((run,) for run in self.by_reads) if by == "reads" else self.by_noise

    def curve(self, by: str) -> Curve:
        """Return accuracy against ``by`` ("reads" or "noise") as a curve."""
        runs = self.runs_by(by)
        places = tuple(float(draws[0].parameters[by]) for draws in runs)
        accuracies = tuple(tuple(run.accuracy for run in draws) for draws in runs)
        return Curve(self.label, places, accuracies, self.own.accuracy, len(self.whole.labels))

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON."""
        numbers: dict[str, Any] = {
            "network": self.chosen.network,
            "table": {"run_id": self.chosen.run_id, **self.table.to_dict()},
            "whole": self.whole.to_dict(),
            "own_accuracy": self.own.accuracy,
        }
        if self.by_reads:
            numbers["by_reads"] = [run.to_dict() for run in self.by_reads]
            numbers["fewest_reads_within_0.1_points"] = self.fewest_reads
        if self.by_noise:
            numbers["by_noise"] = [[run.to_dict() for run in draws] for draws in self.by_noise]
        return numbers


@dataclass(frozen=True, eq=False)
class Data:
    """The images of a trial: those of the table, and the data set over which accuracy is counted."""

    chosen: ImageSet
    whole: ImageSet
