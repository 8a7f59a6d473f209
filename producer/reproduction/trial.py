"""One network sampled in one way: a table of scores, and accuracy against reads and noise."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from producer.images.imageset import ImageSet
from producer.reproduction import baseline
from producer.reproduction.charts import Curve
from producer.reproduction.runner import ExperimentResult, ExperimentRun, Runner
from producer.reproduction.scores import ScoreTable
from schema.parameters import Parameters

_NEAR = 0.001  # accuracies closer than 0.1 points count as equal in the search for the fewest reads


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


def perform(runner: Runner, label: str, network: str, data: Data, base: Parameters, scale: Scale) -> Trial:
    """Run a trial through the queue.

    Args:
        runner: runs networks and images through the queue.
        label: name of the trial in tables and charts.
        network: NAME@VERSION.
        data: images of the table, and the whole data set.
        base: all parameters but reads and noise.
        scale: numbers of reads and noise levels.
    """

    def request(images: ImageSet, reads: int, noise: float = 0.0, draw: int = 0) -> ExperimentRun:
        parameters = replace(base, reads=reads, noise=noise, seed=base.seed + draw)
        return ExperimentRun(network, images, parameters)

    reads = [*scale.fewer, scale.reads]
    by_reads = [request(data.whole, some) for some in reads]
    draws = range(scale.draws)
    by_noise = [request(data.whole, scale.noise_reads, noise, d) for noise in scale.noise for d in draws]
    chosen, *runs = runner.run([request(data.chosen, scale.reads), *by_reads, *by_noise])
    assert chosen.labels.size == len(data.chosen.images)  # noqa: S101  (a run that is done has every image)
    return Trial(
        label=label,
        table=ScoreTable(chosen.scores, chosen.labels),
        chosen=chosen,
        whole=runs[len(reads) - 1],
        own=baseline.measure(runner.app, runs[len(reads) - 1].run_id),
        by_reads=tuple(runs[: len(reads)]) if scale.fewer else (),
        by_noise=_grouped(runs[len(reads) :], scale.draws),
    )


def _grouped(runs: list[ExperimentResult], size: int) -> tuple[tuple[ExperimentResult, ...], ...]:
    return tuple(tuple(runs[start : start + size]) for start in range(0, len(runs), size))
