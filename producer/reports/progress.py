"""Live progress over queries: bars on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.progress import TimeRemainingColumn as Remaining
from rich.text import Text

from producer.calibration import queries as calibration_queries
from producer.networks import queries as networks_queries
from producer.runs import dry_runs, queries
from schema.database import Database
from schema.errors import AnnealqError
from schema.states import FINISHED_RUNS, CalibrationState, NetworkState, PreparationState, RunState

_EVERY_S = 0.2
_LINE_EVERY_S = 5.0
_SHOWN_AFTER_S = 2.0

Check = Callable[[], None]


class Rate(ProgressColumn):
    """Images, or epochs, per second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.1f} {task.fields['unit']}/s", style="cyan")


def watch_run(
    database: Database, run_id: int, console: Console, check: Check = lambda: None
) -> queries.ImageProgress:
    """Show a run's stages until it is finished or paused; ``check`` is called in between and may raise.

    A run that is paused by its window goes on by itself, and is waited for.
    """
    with _bars(console) as bars:
        stages: dict[str, TaskID] = {}
        told = time.monotonic()
        waits: str | None = None
        while True:
            with database.reading() as session:
                seen = queries.progress(session, run_id)
            for stage, done in (("sampled", seen.sampled), ("scored", seen.scored)):
                if stage not in stages:
                    stages[stage] = bars.add_task(stage, total=seen.images, unit="images")
                bars.update(stages[stage], completed=done)
            searching = "" if seen.search is None else ": {} {} %".format(*_step(seen.search))
            bars.update(stages["sampled"], description=f"sampled{searching}")
            if seen.state in FINISHED_RUNS or (seen.state is RunState.PAUSED and not seen.waits):
                return seen
            if seen.waits != waits and (waits := seen.waits):
                console.print(f"run {run_id} waits: {waits}", markup=False)
            if not console.is_terminal and time.monotonic() - told >= _LINE_EVERY_S:
                told = time.monotonic()
                console.print(
                    f"run {run_id}: {seen.sampled} sampled, {seen.scored} scored of {seen.images} images"
                    f"{searching}"
                )
            check()
            time.sleep(_EVERY_S)


def watch_training(
    database: Database, network_id: int, console: Console, check: Check = lambda: None
) -> networks_queries.NetworkSummary:
    """Show a network's epochs until it is ready.

    Raises:
        AnnealqError: training failed; says why.
    """
    with _bars(console) as bars:
        bar = bars.add_task("training", total=None, unit="epochs")
        told = 0
        while True:
            with database.reading() as session:
                seen = networks_queries.network(session, network_id)
            history = (seen.metrics or {}).get("epochs", [])
            total = history[-1]["epochs"] if history else None
            bars.update(bar, completed=len(history), total=total, description=_epoch(history))
            if seen.state is NetworkState.READY:
                return seen
            if seen.state is NetworkState.FAILED:
                raise AnnealqError(f"training {seen.name}@{seen.version} failed: {seen.error}")
            if not console.is_terminal and len(history) > told:
                told = len(history)
                console.print(_epoch(history))
            check()
            time.sleep(_EVERY_S)


def watch_calibration(
    database: Database, calibration_id: int, console: Console, check: Check = lambda: None
) -> calibration_queries.CalibrationSummary:
    """Show how many images of a calibration's runs are scored, until its parameters are there.

    Raises:
        AnnealqError: it failed; says why.
    """
    with _bars(console) as bars:
        bar = bars.add_task("calibration", total=None, unit="images")
        told = time.monotonic()
        while True:
            with database.reading() as session:
                seen = calibration_queries.one(session, calibration_id)
                scored, images = calibration_queries.progress(session, calibration_id)
            bars.update(bar, completed=scored, total=images)
            if seen.state is CalibrationState.READY:
                return seen
            if seen.state is CalibrationState.FAILED:
                raise AnnealqError(f"calibration {calibration_id} of {seen.network} failed: {seen.error}")
            if not console.is_terminal and time.monotonic() - told >= _LINE_EVERY_S:
                told = time.monotonic()
                console.print(f"calibration {calibration_id}: {scored} of {images} images")
            check()
            time.sleep(_EVERY_S)


def watch_dry_run(
    database: Database, preparation_id: int, console: Console, check: Check = lambda: None
) -> dry_runs.PreparationSummary:
    """Show how far the search for an embedding is, until the plan is there.

    Raises:
        AnnealqError: the solver or the search said no; says why.
    """
    with _bars(console) as bars:
        bar = bars.add_task("preparing", total=100, unit="%")
        told = time.monotonic()
        while True:
            with database.reading() as session:
                seen = dry_runs.one(session, preparation_id)
            step, percent = _step(seen.progress)
            bars.update(bar, completed=percent, description=step)
            if seen.state is PreparationState.READY:
                return seen
            if seen.state is PreparationState.FAILED:
                raise AnnealqError(f"{seen.network} on solver {seen.solver}: {seen.error}")
            if not console.is_terminal and time.monotonic() - told >= _LINE_EVERY_S:
                told = time.monotonic()
                console.print(f"{step}: {percent} %")
            check()
            time.sleep(_EVERY_S)


class StepBars:
    """Bars of a work in steps, as a context manager; they come up once it has taken two seconds."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars = Progress(*_columns(), console=console, disable=not console.is_terminal)
        self._started = self._told = time.monotonic()
        self._shown = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown:
            self._bars.stop()

    def start_step(self, name: str, size: int) -> Callable[[int], None]:
        """Begin a step; what is returned is told how much of it is done. size: 0 where it is not known."""
        bar = self._bars.add_task(name, total=size or None, unit="rows")
        done = 0

        def tick(count: int) -> None:
            nonlocal done
            done += count
            self._bars.update(bar, completed=done)
            self._show(f"{name}: {done:,}" + (f" of {size:,}" if size else ""))

        return tick

    def _show(self, line: str) -> None:
        now = time.monotonic()
        if not self._shown and now - self._started > _SHOWN_AFTER_S:
            self._shown = True
            self._bars.start()
        if not self._console.is_terminal and now - self._told >= _LINE_EVERY_S:
            self._told = now
            self._console.print(line)


def _step(progress: dict[str, Any] | None) -> tuple[str, int]:
    if progress is None:
        return "preparing", 0
    return str(progress["step"]), round(100 * progress["fraction"])


def _epoch(history: list[dict[str, Any]]) -> str:
    if not history:
        return "training"
    last = history[-1]
    validation = last.get("validation_accuracy")
    held_out = "" if validation is None else f", {validation:.2%} of held-out images right"
    return f"epoch {len(history)} of {last['epochs']}: loss {last['loss']:.4f}{held_out}"


@contextmanager
def _bars(console: Console) -> Iterator[Progress]:
    with Progress(*_columns(), console=console, disable=not console.is_terminal) as bars:
        yield bars


def _columns() -> tuple[ProgressColumn, ...]:
    name = TextColumn("{task.description:<10}")
    return (name, BarColumn(), MofNCompleteColumn(), Rate(), Remaining())
