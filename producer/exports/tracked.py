"""Says what is tracked of a run or a training: parameters, metrics, tags and files, but no tokens."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from importlib.util import find_spec
from typing import Any, NamedTuple

from sqlalchemy.orm import Session

from producer.exports.epochs import COLUMNS, epoch_rows
from producer.figures.training_curves import curves_png
from producer.networks.queries import NetworkSummary
from producer.reports.export import to_json
from producer.runs import queries
from producer.runs.summary import run_object
from schema.network.architecture import Architecture
from schema.states import FINISHED_RUNS, NetworkState, RunState

_COUNTS = ("images", "decided", "tied", "undecided", "missing", "accuracy")
_FORBIDDEN = re.compile(r"[^\w\-./ :]")  # in names, by MLflow


class TrackedState(StrEnum):
    """States of a run of MLflow."""

    RUNNING = "RUNNING"
    FINISHED = "FINISHED"
    FAILED = "FAILED"
    KILLED = "KILLED"


_STATES = {
    RunState.DONE: TrackedState.FINISHED,
    RunState.FAILED: TrackedState.FAILED,
    RunState.CANCELLED: TrackedState.KILLED,
    NetworkState.READY: TrackedState.FINISHED,
    NetworkState.FAILED: TrackedState.FAILED,
}


class TrackedMetric(NamedTuple):
    """A value of a metric at a step."""

    name: str
    value: float
    step: int


@dataclass(frozen=True)
class Tracked:
    """What is tracked of a run or a training.

    Attributes:
        key: by which it is found again; it is the same for the same run of the same database.
        name: for display.
        params: what was asked for.
        metrics: what came of it.
        tags: further texts by name.
        files: returns contents by name; it is called only if there is something to log.
        state: RUNNING, until it has finished.
        started_at, finished_at: when it began and ended; the end is None while it is RUNNING.
    """

    key: str
    name: str
    params: dict[str, str]
    metrics: tuple[TrackedMetric, ...]
    tags: dict[str, str]
    files: Callable[[], dict[str, bytes]]
    state: TrackedState
    started_at: datetime
    finished_at: datetime | None

    @property
    def sha256(self) -> str:
        """Return the digest of what is tracked, by which a complete one is recognised.

        Files are not part of it: a report names the time when it was written.
        """
        ended = None if self.finished_at is None else self.finished_at.isoformat()
        values = [self.params, self.metrics, self.tags, self.state, ended]
        return hashlib.sha256(to_json(values).encode()).hexdigest()


def tracked_run(session: Session, run: int, report: Callable[[], str]) -> Tracked:
    """Return what is tracked of ``run``, read by ``session``.

    Args:
        report: returns its page, HTML.

    Raises:
        NotFound: there is no such run.
    """
    summary = queries.run(session, run)
    shown = run_object(session, run)
    params = {name: _text(value) for name, value in _leaves(summary.parameters)}
    params |= {"network": summary.network, "solver": summary.solver, "qpu": summary.qpu or ""}
    metrics = [TrackedMetric(name, float(shown[name]), 0) for name in _COUNTS if shown[name] is not None]
    metrics += _numbers(summary.statistics or {})
    tags = {"run": str(run), "notes": "; ".join(summary.notes), "error": summary.error or ""}
    tags["tags"] = ", ".join(shown["tags"])

    def files() -> dict[str, bytes]:
        return {"report.html": report().encode(), "run.json": to_json(shown).encode()}

    return Tracked(
        f"run {run} of {summary.created_at.isoformat()}",
        summary.name,
        {name: value for name, value in params.items() if value},
        tuple(metrics),
        {name: value for name, value in tags.items() if value},
        files,
        _STATES.get(summary.state, TrackedState.RUNNING),
        summary.started_at or summary.created_at,
        summary.finished_at if summary.state in FINISHED_RUNS else None,
    )


def tracked_training(network: NetworkSummary) -> Tracked:
    """Return what is tracked of the training of ``network``: also the metrics of every epoch.

    Raises:
        NotFound: its epochs are not known.
    """
    epochs = epoch_rows(network)
    best_epoch = (network.metrics or {}).get("best_epoch")
    metrics = [
        TrackedMetric(name, float(row[name]), row["step"])
        for row in epochs
        for name in COLUMNS
        if name not in ("step", "phase", "epoch") and row[name] is not None
    ]
    best = {"best_epoch": best_epoch, "own_accuracy": network.own_accuracy}
    best |= {"balanced_accuracy": network.balanced_accuracy, "auc": network.auc}
    metrics += [TrackedMetric(name, float(value), 0) for name, value in best.items() if value is not None]
    architecture = Architecture.from_dict(network.architecture)
    asked = network.training | {"plan": architecture.to_dict().get("training", {})}
    params = {name: _text(value) for name, value in _leaves(asked)}
    params |= {"classes": str(len(network.classes)), "images": network.image_shape.short}

    def files() -> dict[str, bytes]:
        found = {"network.json": to_json(network.architecture).encode()}
        if find_spec("matplotlib") is not None:
            found["curves.png"] = curves_png(
                epochs, network.pinned, (network.metrics or {}).get("best_epoch")
            )
        return found

    tags = {"network": network.pinned, "weights_sha256": network.weights_sha256 or ""}
    tags["error"] = network.error or ""
    return Tracked(
        f"network {network.pinned} of {network.created_at.isoformat()}",
        network.pinned,
        params,
        tuple(metrics),
        {name: value for name, value in tags.items() if value},
        files,
        _STATES.get(network.state, TrackedState.RUNNING),
        network.created_at,
        network.finished_at,
    )


def _numbers(values: Mapping[str, Any]) -> Iterator[TrackedMetric]:
    """Yield the finite numbers in ``values``, whose names are joined by dots."""
    for name, value in _leaves(values):
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            yield TrackedMetric(name, float(value), 0)


def _leaves(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        name = _FORBIDDEN.sub("_", f"{above}{key}")
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{name}.")
        elif value is not None:
            yield name, value


def _text(value: object) -> str:
    return value if isinstance(value, str) else to_json(value)
