"""Networks and runs for an experiment: reused where they exist, else made through the queue."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from itertools import count

import numpy as np

from producer.context import AppContext
from producer.enqueued import Enqueued
from producer.images.imageset import ImageSet
from producer.jobs import submit, submit_training
from producer.networks import queries as networks_queries
from producer.networks import shipped
from producer.networks.versions import install
from producer.reports.progress import watch_run, watch_training
from producer.reports.terminal import screen
from producer.reproduction import baseline
from producer.reproduction.scores import ScoreTable
from producer.reproduction.trial import Data, ExperimentResult, ExperimentRun, Scale, Trial
from producer.runs import queries
from producer.runs.request import RunRequest
from schema.codecs import arrays
from schema.errors import AnnealqError, ImageError, NetworkError
from schema.network.architecture import preset
from schema.parameters import Origin, Parameters
from schema.parameters.batch_sizes import BATCH_SIZE
from schema.quantities import count_text
from schema.states import NetworkState, RunState

TRANSFERS = ("paper", "energy")


class Runner:
    """Runs networks and images of experiments through an open database and broker."""

    def __init__(self, app: AppContext) -> None:
        self.app = app
        self._console = screen()

    def ready(self, name: str, transfer: str | None, train: ImageSet | None) -> str:
        """Return NAME@VERSION of the preset ``name``: trained on ``train`` by ``transfer``, or else the
        newest ready one.

        Raises:
            NetworkError: there is none; names the command that trains one.
        """
        if train is not None and transfer is not None:
            found = self.train(name, transfer, train)
        else:
            found = self.network(name, transfer)
        return f"{found.name}@{found.version}"

    def network(self, name: str, transfer: str | None = None) -> networks_queries.NetworkSummary:
        """Return the newest ready network ``name``, by ``transfer`` where one is named; else install a
        shipped one.

        Raises:
            NetworkError: there is none; names the command that trains one.
        """
        with self.app.database.reading() as session:
            for found in networks_queries.networks(session):
                ready = found.name == name and found.state is NetworkState.READY
                if ready and transfer in (None, found.training["transfer"]):
                    return found
        if transfer in (None, "energy") and name in shipped.names():
            install(self.app.database, shipped.load(name), Origin.SHIPPED)
            return self.network(name, "energy")
        by = f" --transfer {transfer}" if transfer else ""
        kind = f" trained by the {transfer} transfer" if transfer else ""
        raise NetworkError(
            f"no network {name}{kind} is ready: give --train DATA, "
            f"or run `annealq networks train {name}{by} --data DATA`"
        )

    def train(self, name: str, transfer: str, images: ImageSet) -> networks_queries.NetworkSummary:
        """Train the preset ``name`` by ``transfer`` on ``images``, or return the network of an earlier
        training.
        """
        origin = Origin.EXPERIMENT
        queued = submit_training(self.app, preset(name), images, transfer=transfer, seed=0, origin=origin)
        if queued.created:
            total = len(images.images)
            self._console.print(
                f"training {name}, {transfer} transfer, on {count_text(total, 'image')} of {images.name}"
            )
        return watch_training(self.app.database, queued.id, self._console, self.app.check)

    def run(self, requests: Iterable[ExperimentRun]) -> list[ExperimentResult]:
        """Enqueue all ``requests``, then wait for them; an existing run is used again.

        Raises:
            AnnealqError: a run failed, was cancelled or is paused.
        """
        queued = [(request, self._submit(request)) for request in requests]
        return [self._wait(request, run) for request, run in queued]

    def _submit(self, request: ExperimentRun) -> int:
        """Enqueue exactly this request; make another attempt after one that failed or was cancelled."""
        key = _key(request)
        for attempt in count(1):
            run = self._enqueue(request, f"{key}:{attempt}")
            if run.created:
                break
            with self.app.database.reading() as session:
                if queries.run(session, run.id).state not in (RunState.FAILED, RunState.CANCELLED):
                    break
        return run.id

    def _enqueue(self, request: ExperimentRun, key: str) -> Enqueued:
        # Small batches, so that all workers have some.
        size = min(BATCH_SIZE, -(-len(request.images.images) // 8))
        run_request = RunRequest(
            network=request.network,
            solver=request.solver,
            asked=request.parameters.to_dict(),
            calibrated=False,
            batch_size=size,
        )
        return submit(self.app, run_request, request.images, key)[0]

    def _wait(self, request: ExperimentRun, run: int) -> ExperimentResult:
        seen = watch_run(self.app.database, run, self._console, self.app.check)
        if seen.state is not RunState.DONE:
            why = seen.error or "`annealq runs show` says more"
            raise AnnealqError(f"run {run} ({request.images.name}) is {seen.state}: {why}")
        with self.app.database.reading() as session:
            classes = len(queries.classes(session, run))
            return _result(queries.run(session, run), list(queries.classified(session, run)), classes)


def labelled(images: ImageSet) -> ImageSet:
    """Return ``images``; raise ImageError when they have no labels to compare with."""
    if images.labels is None:
        raise ImageError(f"{images.name}: has no labels to compare with; give labelled images")
    return images


def one_of_each(images: ImageSet, classes: int, seed: int) -> ImageSet:
    """Return one of ``images`` for each of ``classes`` classes, chosen by ``seed``, in the order of the
    classes.

    Raises:
        ImageError: a class has no image.
    """
    labels = labelled(images).labels
    assert labels is not None  # noqa: S101  (what ``labelled`` says)
    rng = np.random.default_rng(seed)
    places = [np.flatnonzero(labels == k) for k in range(classes)]
    if empty := [k for k, place in enumerate(places) if not len(place)]:
        raise ImageError(f"{images.name}: no image of class {empty[0]}; one of each class is needed")
    rows = np.array([rng.choice(place) for place in places])
    return replace(
        images,
        name=f"{images.name}, one of each class",
        images=images.images[rows],
        labels=labels[rows],
        sources=None if images.sources is None else tuple(images.sources[row] for row in rows),
    )


def _key(request: ExperimentRun) -> str:
    """Return an idempotency key that follows from everything that decides the result."""
    what = {"network": request.network, "solver": request.solver, **request.parameters.to_dict()}
    return "reproduce:" + request.images.digest(json.dumps(what, sort_keys=True).encode())


def _result(run: queries.RunSummary, rows: list[queries.Classified], classes: int) -> ExperimentResult:
    figures = run.statistics or {}
    return ExperimentResult(
        run_id=run.run_id,
        network=run.network,
        parameters=run.parameters,
        labels=np.array([-1 if row.label is None else row.label for row in rows], dtype=np.int64),
        predicted=np.array([-1 if row.predicted is None else row.predicted for row in rows], dtype=np.int64),
        scores=100.0 * arrays.decode_scores([row.scores for row in rows], classes).astype(np.float64),
        one_hot_fraction=float(np.mean([row.one_hot_fraction for row in rows])),
        sampling_us=1e6 * figures["sampling_seconds"] / run.images,
        images_per_second=figures["images_per_second"],
    )


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
