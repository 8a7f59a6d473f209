"""The queue of this machine: the same runs and results as over HTTP, by its database."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack

import numpy as np
from numpy.typing import ArrayLike
from sqlalchemy.orm import Session

from annealq.extras import require_libraries
from producer import jobs
from producer.client import ImageResult, ResultArrays, ResultOptions, RunInfo, RunProgress, RunUnsuccessful
from producer.client.options import GivenRunOptions
from producer.client.results import image_result, run_progress
from producer.context import AppContext, user
from producer.images.given import read_given
from producer.images.imageset import ImageSet
from producer.images.source import read_images
from producer.images.values.labels import to_labels
from producer.intake.find import source_for
from producer.intake.growth import GrowthHints
from producer.intake.read_on import read_on
from producer.networks import bundle, choose, queries, versions
from producer.progress.stages import progress_of
from producer.runs import control, hints, results, summary
from producer.runs import queries as run_queries
from producer.runs.filters import ResultFilter, image_conditions
from producer.runs.request import ClassificationRequest, RunRequest
from schema.database import Database, act_as
from schema.errors import ParameterError
from schema.messages import Message, Task
from schema.parameters.choices import Origin
from schema.settings import load
from schema.states import FINISHED_RUNS, RunState

if TYPE_CHECKING:
    from annealq.networks import Network

_PAGE = 1_000  # images that are read at once
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 1.0


class QueueOptions(GivenRunOptions, total=False):
    """Options of `Queue.submit`, named as in POST /v1/runs; what is left out or None has its default.

    `annealq classify --help` has their meanings and limits.
    """

    deadline: str | None
    qpu: str | None
    skip_unreadable: bool | None
    by_reference: bool | None  # batches name the rows of their file, and do not hold them


class Queue:
    """The queue in the database of this machine, or of a server, which a process may use without HTTP.

    Workers do the work: `annealq up`, or `annealq worker`. Several threads may use one queue.

    Args:
        home: folder of the local stack; None: that of the settings.
        database_url: SQLAlchemy URL of another database than that of the home folder.
        broker_url: Celery URL of its broker.

    Raises:
        ParameterError: a setting cannot be used.
        StorageError: there is no database, or it has another version: the message says what to do.
    """

    def __init__(
        self,
        home: str | os.PathLike[str] | None = None,
        *,
        database_url: str | None = None,
        broker_url: str | None = None,
    ) -> None:
        given = {
            "home": None if home is None else Path(home),
            "database_url": database_url,
            "broker_url": broker_url,
        }
        settings = load(**{name: value for name, value in given.items() if value is not None})
        database = Database(settings.database_url)
        with ExitStack() as on_failure:
            on_failure.callback(database.dispose)
            database.require_current()
            on_failure.pop_all()
        self._app = AppContext(settings, database)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Queue in {self._database.url.render_as_string()}>"  # without the password

    def close(self) -> None:
        """Close all connections."""
        self._database.dispose()

    def submit(
        self,
        images: str | os.PathLike[str] | ArrayLike,
        labels: str | os.PathLike[str] | ArrayLike | None = None,
        *,
        idempotency_key: str | None = None,
        **options: Unpack[QueueOptions],
    ) -> int:
        """Enqueue images as a run, and return its number.

        Args:
            images: numbers (B, H, W), (B, H, W, 3) or (B, D); or the path of a file or folder in any format
                that `annealq classify` reads.
            labels: (B,) numbers, one class for each image; or a file of them.
            idempotency_key: the same key and request are one run.
            options: as in POST /v1/runs.

        Large files are read in pieces, while workers classify what was read; the method returns when all is
        read. If it is interrupted, the same call with the same key, or `annealq runs resume`, reads on.

        Raises:
            InputError: images, network or options cannot be used; nothing was written, but for those images
                of a large file that were read before.
            StorageError: the database cannot be used; nothing was written.
        """
        given: dict[str, Any] = dict(options)
        part = given.pop("part", None)
        if isinstance(images, str | os.PathLike):
            return self._submit_source(os.fspath(images), labels, part, idempotency_key, given)
        if given.pop("by_reference", None):
            raise ParameterError("numbers have no file that batches could name: leave by_reference out")
        name = given.pop("name", None)
        request = RunRequest.from_options(given)
        read = request.select(read_given(images, labels, request.preprocessing))
        with act_as(actor=user()):
            run, _ = jobs.submit(self._app, request, _named(read, name), idempotency_key)
        return run.id

    def _submit_source(
        self, data: str, labels: Any, part: str | None, key: str | None, given: dict[str, Any]
    ) -> int:
        """Enqueue the images at the path ``data``; read them in pieces if they are many."""
        is_file = labels is None or isinstance(labels, str | os.PathLike)
        of_file = {} if labels is None or not is_file else {"labels": os.fspath(labels)}
        request = ClassificationRequest.from_options({**given, **of_file, "data": data})
        takes = choose.inputs(self._database, request.network)
        source = source_for(request, takes, part) if is_file else None
        with act_as(actor=user()):
            if source is not None:
                run, _ = jobs.submit(self._app, request, source.head(), key, source=source)
                growth = GrowthHints(self._app, run.id)
                read_on(self._database, run.id, source, notify=growth.grown)
                growth.ended()
                return run.id
            read = read_images(data, request.labels, request.preprocessing, part=part, takes=takes)
            if not is_file:
                read = replace(read, labels=to_labels(np.asarray(labels), len(read.images), "labels"))
            read = _named(request.select(read), request.name)
            run, _ = jobs.submit(self._app, request, read, key)
        return run.id

    def run(self, run: int) -> RunInfo:
        """Return what `annealq runs show RUN --json` prints about ``run``; raise NotFound."""
        with self._reading() as session:
            return RunInfo(summary.run_object(session, run, self._database.now(session)))

    def runs(self, *, limit: int = 20) -> list[RunInfo]:
        """Return the newest ``limit`` runs, newest first."""
        with self._reading() as session:
            now, found = self._database.now(session), run_queries.runs(session, limit)
            return [RunInfo(summary.run_object(session, run.run_id, now)) for run in found]

    def wait(self, run: int, *, timeout_s: float | None = None) -> RunInfo:
        """Return ``run`` once it is done.

        Args:
            run: its number.
            timeout_s: seconds to wait; None: as long as it takes.

        Raises:
            NotFound: there is no such run.
            RunUnsuccessful: it failed or was cancelled.
            TimeoutError: it is not finished in time; it continues.
        """
        deadline = float("inf") if timeout_s is None else time.monotonic() + timeout_s
        for pause_s in _pauses():
            with self._reading() as session:
                found = run_queries.run(session, run)
            if found.state in FINISHED_RUNS:
                break
            if time.monotonic() >= deadline:
                raise TimeoutError(
                    f"run {run} is not finished: wait longer, or look at why: `annealq runs show {run}`"
                )
            time.sleep(pause_s)
        if found.state is not RunState.DONE:
            why = f": {found.error}" if found.error else ""
            raise RunUnsuccessful(f"run {run} is {found.state}{why}", run, found.state.value)
        return self.run(run)

    def results(
        self, /, run: int, *, start: int = 0, **filters: Unpack[ResultOptions]
    ) -> Iterator[ImageResult]:
        """Yield the classified images of ``run`` in order, each as soon as it is final.

        Args:
            run: its number.
            start: index of the first image.
            filters: which images; ``provisional=True``: those that are there, which may change.

        Raises:
            NotFound: there is no such run.
        """
        given: dict[str, Any] = dict(filters)
        provisional = bool(given.pop("provisional", False))
        for pause_s in _pauses():
            while rows := self._page(run, start, given, provisional=provisional):
                yield from rows
                start = rows[-1].index + 1
            with self._reading() as session:
                now = run_queries.run(session, run)
                end = results.first_unsettled_image(session, now, provisional=provisional)
            if end is None or provisional:
                yield from self._page(run, start, given, provisional=provisional)
                return
            time.sleep(pause_s)

    def _page(self, run: int, start: int, given: dict[str, Any], *, provisional: bool) -> list[ImageResult]:
        with self._reading() as session:
            found = run_queries.run(session, run)
            names = run_queries.classes(session, run)
            end = results.first_unsettled_image(session, found, provisional=provisional)
            conditions = image_conditions(ResultFilter(**given))  # type: ignore[typeddict-item]
            rows = islice(results.rows(session, run, names, start, end, conditions), _PAGE)
            return [
                image_result(results.nested(row, names), provisional=found.is_provisional) for row in rows
            ]

    def result_arrays(self, /, run: int, **filters: Unpack[ResultOptions]) -> ResultArrays:
        """Return the images of ``run`` as arrays, once all are final; ``filters`` as in `results`."""
        images = list(self.results(run, **filters))
        with self._reading() as session:
            return ResultArrays.of(images, run_queries.classes(session, run))

    def cancel(self, run: int) -> RunInfo:
        """Cancel ``run`` for good, and return it; scored images stay.

        Raises:
            NotFound: there is no such run.
            ParameterError: it has finished already.
        """
        with act_as(actor=user()):
            control.cancel(self._database, run)
        return self.run(run)

    def pause(self, run: int) -> RunInfo:
        """Pause ``run`` until it is resumed, and return it; problems in flight are still collected.

        Raises:
            NotFound: there is no such run.
            ParameterError: it has finished already.
        """
        with act_as(actor=user()):
            control.pause(self._database, run, again=True)
        return self.run(run)

    def resume(
        self, run: int, *, budget_s: float | None = None, now: bool = False, qpu: str | None = None
    ) -> RunInfo:
        """Resume ``run``, or repeat its failed batches, and return it.

        The images of a large file that are not read yet are read by `annealq runs resume` alone.

        Args:
            run: its number.
            budget_s: a new budget of QPU seconds for the whole run.
            now: whether to open the window of the run at once, if it waits for it.
            qpu: the QPUs that the run may use from now on.

        Raises:
            NotFound: there is no such run.
            ParameterError: it has finished, its budget is spent, or it waits for its window.
        """
        budget_us = None if budget_s is None else math.ceil(budget_s * 1e6)
        with act_as(actor=user()):
            control.resume(self._database, run, budget_us, at_once=now, qpu=qpu, again=True)
        hints.send(self._app.settings.broker_url, Message(Task.DISPATCH))
        return self.run(run)

    def events(self, run: int) -> Iterator[RunProgress]:
        """Yield the progress of ``run`` now and at every change, until it is finished; raise NotFound."""
        seen = None
        for pause_s in _pauses():
            with self._reading() as session:
                found = progress_of(session, run, self._database.now(session))
            progress = run_progress({"run_id": run, **asdict(found)}, None)
            if progress != seen:
                seen = progress
                yield progress
            if progress.state in FINISHED_RUNS:
                return
            time.sleep(pause_s)

    def network(self, name: str) -> Network:
        """Return the network NAME or NAME@VERSION; a shipped one is installed at its first use.

        Raises:
            NotFound: there is none.
            NetworkError: it is not ready.
            MissingExtra: torch is not installed.
        """
        require_libraries("Network")
        from annealq.networks import Network  # it imports torch, which the queue does not need

        with act_as(actor=user()):
            found = choose.find_network(self._database, name)
        with self._reading() as session:
            data = queries.weights(session, found.network_id)
            return Network(bundle.pack(found, data, queries.training_set(session, found.network_id)))

    def add_network(self, network: Network) -> str:
        """Add ``network`` as the next version of its name, and return NAME@VERSION.

        A network with the same content is not added again.
        """
        with act_as(actor=user()):
            added = versions.install(self._database, network._bundle, Origin.IMPORTED)
        with self._reading() as session:
            return queries.network(session, added.id).pinned

    @property
    def _database(self) -> Database:
        return self._app.database

    @contextmanager
    def _reading(self) -> Iterator[Session]:
        with self._database.reading() as session:
            yield session


def _named(images: ImageSet, name: str | None) -> ImageSet:
    return images if name is None else replace(images, name=name)


def _pauses() -> Iterator[float]:
    """Yield seconds to wait: short at first, then longer."""
    pause_s = _FIRST_PAUSE_S
    while True:
        yield pause_s
        pause_s = min(1.5 * pause_s, _LONGEST_PAUSE_S)
