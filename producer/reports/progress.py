"""Live progress: bars on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Self, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.progress import TimeElapsedColumn as Elapsed
from rich.progress import TimeRemainingColumn as Remaining
from rich.text import Text
from sqlalchemy.orm import Session

from producer.calibration import queries as calibration_queries
from producer.networks import queries as networks_queries
from producer.progress.searches import search_text
from producer.progress.stages import ImageProgress, progress_of
from producer.runs import dry_runs
from schema.database import Database
from schema.errors import AnnealqError, StorageError
from schema.quantities import count_text, duration_text
from schema.states import FINISHED_RUNS, CalibrationState, NetworkState, PreparationState, RunState

_EVERY_S = 0.2
_LINE_EVERY_S = 5.0
_SHOWN_AFTER_S = 2.0
_AWAY_S = 60.0  # that a database may be away while somebody watches
_AGAIN_S = 0.5

_T = TypeVar("_T")

Check = Callable[[], None]


class Rate(ProgressColumn):
    """Images, or epochs, per second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.1f} {task.fields['unit']}/s", style="cyan")


class Left(ProgressColumn):
    """What a task's field `left` says of the time until its end; without one, rich's own estimate."""

    def __init__(self) -> None:
        super().__init__()
        self._remaining = Remaining()

    def render(self, task: Task) -> Text:
        left = task.fields.get("left")
        return self._remaining.render(task) if left is None else Text(left, style="progress.remaining")


def watch_run(
    database: Database, run_id: int, console: Console, check: Check = lambda: None
) -> ImageProgress:
    """Show the stages of ``run_id`` on ``console`` until it is finished or paused, and return them.

    ``check`` is called in between, and may raise. A run that is paused by its window resumes automatically,
    so it is followed further.
    """
    lines, watched_from = _Lines(console), time.monotonic()
    reader = PatientReader(database, console, check)
    with _bars(console) as bars:
        stages: dict[str, TaskID] = {}
        told: str | None = None
        while True:
            progress, now = reader.read(lambda session, now: (progress_of(session, run_id, now), now))
            for stage, done in (("sampled", progress.sampled), ("scored", progress.scored)):
                if stage not in stages:
                    stages[stage] = bars.add_task(
                        f"run {run_id} {stage}", total=progress.images, unit="images"
                    )
                bars.update(stages[stage], completed=done, total=progress.expected)
            searching = "" if progress.search is None else f": {search_text(progress.search)}"
            left = _left(progress, now)
            bars.update(stages["sampled"], left=left)
            if progress.state in FINISHED_RUNS or (progress.state is RunState.PAUSED and not progress.waits):
                return progress
            step = None if progress.search is None else progress.search["step"]
            # The time of a search changes every second, its step does not.
            if (reason := step or progress.waits) != told and (told := reason):
                console.print(f"run {run_id} is waiting: {progress.waits}", markup=False)
            counts = (
                f"{_features_text(progress)}{_again_text(progress)}"
                f"{progress.sampled:,} sampled, {progress.scored:,} scored of "
                f"{count_text(progress.expected, 'image')}"
            )
            if progress.intake is not None and progress.intake.text != progress.waits:
                counts += f"; {progress.intake.text}"
            elapsed = duration_text(time.monotonic() - watched_from)
            lines.print(f"run {run_id}: {counts}{searching}, {elapsed}" + (f", {left}" if left else ""))
            check()
            time.sleep(_EVERY_S)


def _features_text(progress: ImageProgress) -> str:
    """Return how many images have feature vectors, while others wait for theirs."""
    return "" if progress.featured is None else f"{progress.featured:,} with features, "


def watch_training(
    database: Database, network_id: int, console: Console, check: Check = lambda: None
) -> networks_queries.NetworkSummary:
    """Show the epochs of ``network_id`` on ``console``; raise AnnealqError if training fails."""
    reader = PatientReader(database, console, check)
    with _bars(console) as bars:
        phases: dict[str, TaskID] = {"training": bars.add_task("training", total=None, unit="epochs")}
        printed = 0
        while True:
            network = reader.read(lambda session, _: networks_queries.network(session, network_id))
            history = (network.metrics or {}).get("epochs", [])
            for name, epochs in training_phases(history).items():
                if name not in phases:
                    phases[name] = bars.add_task(name, total=None, unit="epochs")
                bars.update(
                    phases[name],
                    completed=epochs[-1]["epoch"],
                    total=epochs[-1]["epochs"],
                    description=epoch_text(epochs),
                )
            if network.state is NetworkState.READY:
                return network
            if network.state is NetworkState.FAILED:
                raise AnnealqError(f"training {network.name}@{network.version} failed: {network.error}")
            if not console.is_terminal and len(history) > printed:
                printed = len(history)
                console.print(epoch_text(history))
            check()
            time.sleep(_EVERY_S)


def watch_calibration(
    database: Database, calibration_id: int, console: Console, check: Check = lambda: None
) -> calibration_queries.CalibrationSummary:
    """Show on ``console`` how ``calibration_id`` is planned, then its scored images.

    Raises:
        AnnealqError: it failed, or one of its runs is paused.
    """
    lines = _Lines(console)
    told: tuple[Any, ...] = ()
    with _bars(console) as bars:
        bar = bars.add_task("calibration", total=None, unit="images")
        while True:
            with database.reading() as session:
                calibration = calibration_queries.get(session, calibration_id)
                scored, images = calibration_queries.progress(session, calibration_id)
                paused = calibration_queries.pause_of(session, calibration_id)
            bars.update(bar, completed=scored, total=images or None)
            # The time of a search changes every second, its step does not.
            state = (calibration.runs, (calibration.progress or {}).get("step"), calibration.error)
            if state != told:
                told = state
                for text in _planning_texts(calibration):
                    console.print(text, markup=False)
            if calibration.state is CalibrationState.READY:
                return calibration
            if calibration.state is CalibrationState.FAILED:
                raise AnnealqError(
                    f"calibration {calibration_id} of {calibration.network} failed: {calibration.error}"
                )
            if paused is not None:
                run, why = paused
                raise AnnealqError(f"calibration {calibration_id} waits: its run {run} is paused: {why}")
            if images:
                lines.print(f"calibration {calibration_id}: {scored} of {count_text(images, 'image')}")
            check()
            time.sleep(_EVERY_S)


def _again_text(progress: ImageProgress) -> str:
    """Return how far a later round of reads is, before the rest of the line; nothing in the first."""
    if progress.round == 1:
        return ""
    again = count_text(progress.again, "image")
    return f"round {progress.round}: {progress.again_sampled:,} of {again} read again; "


def _planning_texts(calibration: calibration_queries.CalibrationSummary) -> list[str]:
    """Return what a worker does before ``calibration`` has runs, or else what these compare."""
    name = f"calibration {calibration.calibration_id}"
    if calibration.error is not None:
        return [f"{name} is planned again: {calibration.error}"]
    if calibration.runs == 0:
        doing = search_text(calibration.progress) if calibration.progress else "waiting for a worker"
        return [f"planning {name}: {doing}"]
    total, budget_us = count_text(calibration.images, "image"), calibration.budget_us
    within = "" if budget_us is None else f", for {budget_us / 1e6:g} s at most"
    texts = [f"comparing {count_text(calibration.runs, 'setting')} on {total}{within}"]
    if trained_on := (calibration.measured or {}).get("trained_on", 0):
        texts.append(f"{trained_on:,} of the {total} are among those the network was trained on")
    return texts


def watch_dry_run(
    database: Database, preparation_id: int, console: Console, check: Check = lambda: None
) -> dry_runs.DryRunSummary:
    """Show the search of dry run ``preparation_id`` on ``console``; raise AnnealqError if it fails."""
    lines = _Lines(console)
    with _bars(console) as bars:
        bar = bars.add_task("preparing", total=100, unit="%")
        told: str | None = None
        while True:
            with database.reading() as session:
                dry_run = dry_runs.get(session, preparation_id)
            doing = dry_run.progress or {"step": "connecting to the solver", "fraction": 0.0}
            bars.update(bar, completed=round(100 * doing["fraction"]))
            if doing["step"] != told:
                told = doing["step"]
                console.print(f"preparing: {search_text(dry_run.progress)}", markup=False)
            if dry_run.state is PreparationState.READY:
                return dry_run
            if dry_run.state is PreparationState.FAILED:
                raise AnnealqError(f"{dry_run.network} on solver {dry_run.solver}: {dry_run.error}")
            lines.print(search_text(dry_run.progress))
            check()
            time.sleep(_EVERY_S)


class PatientReader:
    """Reads ``database`` again while it is away, for a minute, and says so on ``console``.

    ``check`` is called in between, and may raise.
    """

    def __init__(self, database: Database, console: Console, check: Check) -> None:
        self._database = database
        self._console = console
        self._check = check

    def read(self, query: Callable[[Session, datetime], _T]) -> _T:
        """Return what ``query`` returns, given a session and the database's time.

        Raises:
            StorageError: the database has been away for a minute.
        """
        until, said = time.monotonic() + _AWAY_S, False
        while True:
            try:
                with self._database.reading() as session:
                    return query(session, self._database.now(session))
            except StorageError as error:
                if time.monotonic() > until:
                    raise
                if not said:
                    said = True
                    self._console.print(f"{error}; trying again for {_AWAY_S:.0f} s", markup=False)
            self._check()
            time.sleep(_AGAIN_S)


class _Lines:
    """Prints a line at most every five seconds, unless the console is a terminal, which has bars."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._printed = time.monotonic()

    def print(self, line: str) -> None:
        now = time.monotonic()
        if not self._console.is_terminal and now - self._printed >= _LINE_EVERY_S:
            self._printed = now
            self._console.print(line)


class StepBars:
    """Progress bars of several steps, as a context manager; they are shown after two seconds."""

    def __init__(self, console: Console) -> None:
        self._lines = _Lines(console)
        self._bars = _bars(console)
        self._started = time.monotonic()
        self._shown = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown:
            self._bars.stop()

    def start_step(self, name: str, size: int, unit: str = "rows") -> Callable[[int], None]:
        """Start step ``name`` of ``size`` (0: unknown) in ``unit``; return the function that adds to it."""
        bar = self._bars.add_task(name, total=size or None, unit=unit)
        done = 0

        def on_progress(count: int) -> None:
            nonlocal done
            done += count
            self._bars.update(bar, completed=done)
            self._show(f"{name}: {done:,}" + (f" of {size:,}" if size else ""))

        return on_progress

    def _show(self, line: str) -> None:
        if not self._shown and time.monotonic() - self._started > _SHOWN_AFTER_S:
            self._shown = True
            self._bars.start()
        self._lines.print(line)


def _left(progress: ImageProgress, now: datetime) -> str:
    """Return how long a run takes from ``now``, for display; empty if that is not known."""
    left_s = progress.left_s(now)
    return "" if left_s is None else f"about {duration_text(left_s)} left"


def training_phases(history: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Return the epochs ``history`` of a training, as its row has them, by phase: it may train twice.

    Of a phase that ended early, the last epoch is that of its end.
    """
    phases: dict[str, list[dict[str, Any]]] = {}
    for epoch in history:
        phases.setdefault("on all images" if epoch.get("refit") else "training", []).append(epoch)
    for ended in list(phases.values())[:-1]:
        ended[-1] = {**ended[-1], "epochs": ended[-1]["epoch"]}
    return phases


def epoch_text(history: Sequence[dict[str, Any]]) -> str:
    """Return the last epoch of ``history`` in words."""
    last = history[-1]
    validation, balanced = last.get("validation_accuracy"), last.get("validation_balanced_accuracy")
    held_out = "" if validation is None else f", {validation:.2%} of held-out images correct"
    held_out += "" if balanced is None else f", {balanced:.2%} on the mean of classes"
    again = "on all images, " if last.get("refit") else ""
    return f"{again}epoch {last['epoch']} of {last['epochs']}: loss {last['loss']:.4f}{held_out}"


def _bars(console: Console) -> Progress:
    name, count = TextColumn("{task.description:<10}"), MofNCompleteColumn()
    return Progress(
        *(name, BarColumn(), count, Rate(), Elapsed(), Left()),
        console=console,
        disable=not console.is_terminal,
    )
