"""Logs what is tracked to MLflow: what is there already is found by a tag, and nothing is logged twice."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from producer.exports.tracked import Tracked, TrackedState
from schema.errors import AnnealqError, ParameterError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_KEY, _COMPLETE = "annealq.key", "annealq.sha256"
_ROOM = 1_000  # metrics, of a request
_MOST = 100  # parameters and tags, of a request


class TrackedRun(NamedTuple):
    """A run of MLflow, and whether something was logged to it: not, if it was complete."""

    run_id: str
    is_changed: bool


def track(tracked: Tracked, uri: str, experiment: str) -> TrackedRun:
    """Log ``tracked`` to the ``experiment`` of the store ``uri``, and return its run there.

    What an interrupted call has logged is completed. The tag `annealq.sha256` is written last: it says that
    all is there.

    Raises:
        ParameterError: MLflow is not installed.
        AnnealqError: the store refuses something, or does not answer.
    """
    if find_spec("mlflow") is None:
        raise ParameterError("tracking needs MLflow: pip install 'annealq[mlflow]'")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # it would report its use to its makers
    from mlflow import MlflowClient

    with _translated(uri):
        client = MlflowClient(tracking_uri=uri)
        number = _experiment(client, experiment)
        run = _find(client, number, tracked) or _create(client, number, tracked)
        if run.data.tags.get(_COMPLETE) == tracked.sha256:
            return TrackedRun(run.info.run_id, is_changed=False)
        _log_values(client, run, tracked)
        _log_files(client, run, tracked)
        client.set_tag(run.info.run_id, _COMPLETE, tracked.sha256)
        _set_state(client, run, tracked)
    return TrackedRun(run.info.run_id, is_changed=True)


def _experiment(client: MlflowClient, name: str) -> str:
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name))
        except MlflowException:  # another process may have been faster
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    if found.lifecycle_stage != "active":
        raise ParameterError(f"the experiment {name!r} was deleted: restore it, or name another --experiment")
    return str(found.experiment_id)


def _find(client: MlflowClient, experiment: str, tracked: Tracked) -> Run | None:
    """Return the oldest run of the key of ``tracked``, if there is one."""
    query = f"tags.`{_KEY}` = '{tracked.key}'"
    found = client.search_runs([experiment], query, order_by=["attributes.start_time ASC"], max_results=1)
    return found[0] if found else None


def _create(client: MlflowClient, experiment: str, tracked: Tracked) -> Run:
    tags = {_KEY: tracked.key, "mlflow.source.name": "annealq"}
    started = _milliseconds(tracked.started_at)
    return client.create_run(experiment, started, tags, tracked.name)


def _log_values(client: MlflowClient, run: Run, tracked: Tracked) -> None:
    """Log the parameters, tags and metrics that ``run`` does not have yet."""
    from mlflow.entities import Metric, Param, RunTag

    number = run.info.run_id
    params = [Param(name, value) for name, value in tracked.params.items() if name not in run.data.params]
    tags = [RunTag(f"annealq.{name}", value) for name, value in tracked.tags.items()]
    for first in range(0, max(len(params), len(tags)), _MOST):
        some = slice(first, first + _MOST)
        client.log_batch(number, params=params[some], tags=tags[some])
    known = {
        (metric.key, metric.step): metric.value
        for name in {metric.name for metric in tracked.metrics} & run.data.metrics.keys()
        for metric in client.get_metric_history(number, name)
    }
    at = _milliseconds(tracked.finished_at or datetime.now(tracked.started_at.tzinfo))
    metrics = [
        Metric(metric.name, metric.value, at, metric.step)
        for metric in tracked.metrics
        if known.get((metric.name, metric.step)) != metric.value
    ]
    for first in range(0, len(metrics), _ROOM):
        client.log_batch(number, metrics=metrics[first : first + _ROOM])


def _log_files(client: MlflowClient, run: Run, tracked: Tracked) -> None:
    """Write the files of ``tracked``: those that are there are replaced, as they may be incomplete."""
    with tempfile.TemporaryDirectory(prefix="annealq-") as folder:
        for name, content in tracked.files().items():
            path = Path(folder) / name
            path.write_bytes(content)
            client.log_artifact(run.info.run_id, str(path))


def _set_state(client: MlflowClient, run: Run, tracked: Tracked) -> None:
    if tracked.state is TrackedState.RUNNING:
        client.update_run(run.info.run_id, str(tracked.state))
    else:
        ended = None if tracked.finished_at is None else _milliseconds(tracked.finished_at)
        client.set_terminated(run.info.run_id, str(tracked.state), ended)


def _milliseconds(at: datetime) -> int:
    return round(at.timestamp() * 1_000)


@contextmanager
def _translated(uri: str) -> Iterator[None]:
    """Raise AnnealqError for what MLflow and its store raise; passwords in ``uri`` are not shown."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    errors: tuple[type[Exception], ...] = (MlflowException, SQLAlchemyError, OSError)
    try:
        yield
    except errors as error:
        text: Any = str(error)
        for secret in {urlsplit(uri).password, os.environ.get("MLFLOW_TRACKING_TOKEN")} - {None, ""}:
            text = text.replace(secret, "...")
        raise AnnealqError(
            f"MLflow refused it: {text}: check --uri; the same command completes what was logged"
        ) from None
