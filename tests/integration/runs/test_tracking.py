"""Runs and trainings in MLflow: logged once, found again, completed after an interruption, without tokens."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from producer.exports import tracking
from producer.exports.tracked import tracked_run
from producer.networks import queries as networks_queries
from producer.networks.chosen import ChosenNetwork
from producer.networks.training import enqueue_training
from producer.runs import queries
from producer.runs.enqueue import RunOptions, enqueue_run
from schema.errors import AnnealqError, NotFound, ParameterError
from schema.messages import Message, Task
from schema.network.architecture import Architecture
from schema.parameters import Parameters, Solver
from tests.integration.conftest import Cli, some_images, work_off
from worker.context import Context

pytest.importorskip("mlflow", reason="needs annealq[mlflow]")

from mlflow import MlflowClient

# Of MLflow's own use of SQLAlchemy, PyYAML and others.
pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.parametrize("database_url", ["sqlite"], indirect=True),
]
TOKEN = "DEV-0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A store of files, which is made ten times as fast as one in SQLite."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("DWAVE_API_TOKEN", TOKEN)
    monkeypatch.chdir(tmp_path)
    return f"file://{tmp_path}/tracked"


@pytest.fixture
def run(context: Context, working: ChosenNetwork) -> int:
    options, parameters = RunOptions(batch_size=10), Parameters(reads=8, seed=5)
    queued = enqueue_run(context.database, some_images(25), working, Solver.LOCAL, parameters, options)
    work_off(context, Message(Task.DISPATCH))
    return queued.id


def track(cli: Cli, *arguments: object, uri: str) -> dict[str, Any]:
    return json.loads(cli(*arguments, "--uri", uri, "--json"))


def logged(context: Context, run: int, uri: str) -> tracking.TrackedRun:
    """Log ``run`` with a short report: a whole one takes seconds."""
    with context.database.reading() as session:
        return tracking.track(tracked_run(session, run, lambda: "<p>a report</p>"), uri, "annealq")


def only_run(uri: str) -> Any:
    """Return the run of the experiment, which has no other one."""
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("annealq")
    (found,) = client.search_runs([experiment.experiment_id])
    return found


def history(uri: str, name: str) -> list[tuple[int, float]]:
    client = MlflowClient(tracking_uri=uri)
    found = client.get_metric_history(only_run(uri).info.run_id, name)
    return sorted((metric.step, metric.value) for metric in found)


def files(uri: str) -> set[str]:
    client = MlflowClient(tracking_uri=uri)
    return {found.path for found in client.list_artifacts(only_run(uri).info.run_id)}


@pytest.mark.parametrize("kind", ["file", "sqlite"])
def test_a_run_is_logged_once(
    cli: Cli, context: Context, run: int, uri: str, kind: str, tmp_path: Path
) -> None:
    uri = uri if kind == "file" else f"sqlite:///{tmp_path}/mlflow.db"
    first = track(cli, "runs", "track", run, uri=uri)
    assert (first["changed"], first["state"]) == (True, "FINISHED")
    found = only_run(uri)
    with context.database.reading() as session:
        summary, counts = queries.run(session, run), queries.counts(session, run)
    assert found.info.run_id == first["mlflow_run_id"]
    assert (found.info.status, found.info.run_name) == ("FINISHED", summary.name)
    assert summary.finished_at is not None
    assert found.info.end_time == round(summary.finished_at.timestamp() * 1_000)
    assert (found.data.params["reads"], found.data.params["seed"]) == ("8", "5")
    assert (found.data.params["network"], found.data.params["solver"]) == ("digits@1", "local")
    assert found.data.metrics["accuracy"] == counts.accuracy
    assert found.data.metrics["images"] == 25
    assert summary.statistics is not None
    assert found.data.metrics["images_per_second"] == summary.statistics["images_per_second"]
    assert found.data.tags["annealq.run"] == str(run)
    assert files(uri) == {"report.html", "run.json"}
    again = track(cli, "runs", "track", run, uri=uri)
    assert again == {**first, "changed": False}
    assert history(uri, "accuracy") == [(0, counts.accuracy)]


def test_an_interrupted_logging_is_completed(
    context: Context, run: int, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "log_artifact", full)
        with pytest.raises(AnnealqError, match=r"No space left on device.*the same command completes"):
            logged(context, run, uri)
    assert only_run(uri).info.status == "RUNNING"
    assert files(uri) == set()
    assert logged(context, run, uri).is_changed
    assert only_run(uri).info.status == "FINISHED"
    assert files(uri) == {"report.html", "run.json"}
    assert len(history(uri, "accuracy")) == 1


def test_a_run_that_continues_is_completed_in_the_same_run(
    context: Context, working: ChosenNetwork, uri: str
) -> None:
    options, parameters = RunOptions(batch_size=10), Parameters(reads=8)
    queued = enqueue_run(context.database, some_images(25), working, Solver.LOCAL, parameters, options)
    first = logged(context, queued.id, uri)
    assert only_run(uri).info.status == "RUNNING"
    assert only_run(uri).data.metrics["missing"] == 25
    work_off(context, Message(Task.DISPATCH))
    assert logged(context, queued.id, uri) == first
    assert only_run(uri).info.status == "FINISHED"
    assert only_run(uri).data.metrics["missing"] == 0


def test_a_training_has_the_metrics_of_each_epoch(cli: Cli, context: Context, uri: str) -> None:
    pytest.importorskip("matplotlib", reason="needs annealq[plots]")
    layers = Architecture.from_dict(
        {
            "name": "pets",
            "input": {"height": 8, "width": 8, "image_max": 16},
            "classes": 10,
            "features": [{"kind": "dense", "units": 8, "activation": "tanh"}],
            "training": {"epochs": 4, "batch_size": 16, "validation": 0.25, "refit": True},
        }
    )
    queued = enqueue_training(context.database, layers, some_images(60), transfer="energy", seed=3)
    with pytest.raises(NotFound, match="pets@1 has no epochs"):
        cli("networks", "track", "pets", "--uri", uri)
    work_off(context, Message(Task.TRAIN_NETWORK, queued.id))
    with context.database.reading() as session:
        metrics = networks_queries.network(session, queued.id).metrics or {}
    epochs = metrics["epochs"]
    track(cli, "networks", "track", "pets", uri=uri)
    assert track(cli, "networks", "track", "pets", uri=uri)["changed"] is False
    steps = enumerate(epochs, 1)
    assert history(uri, "loss") == [(step, epoch["loss"]) for step, epoch in steps]
    held_out = [(step, epoch["validation_accuracy"]) for step, epoch in enumerate(epochs, 1)]
    assert history(uri, "validation_accuracy") == [each for each in held_out if each[1] is not None]
    found = only_run(uri)
    assert found.data.metrics["best_epoch"] == metrics["best_epoch"]
    assert (found.data.params["seed"], found.data.params["transfer"]) == ("3", "energy")
    assert files(uri) == {"curves.png", "network.json"}


def test_no_token_and_no_password_is_logged_or_shown(
    context: Context, run: int, uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "sesame-open")
    logged(context, run, uri)
    stored = [path.read_bytes() for path in (tmp_path / "tracked").rglob("*") if path.is_file()]
    assert any(b"report" in content for content in stored)
    assert not any(TOKEN.encode() in content or b"sesame-open" in content for content in stored)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(AnnealqError, match="MLflow refused it") as caught:
        logged(context, run, "http://me:secret-word@127.0.0.1:1")
    assert "secret-word" not in str(caught.value)


def test_a_store_is_named(cli: Cli, run: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(ParameterError, match=r"give --uri, .*MLFLOW_TRACKING_URI"):
        cli("runs", "track", run)


def test_mlflow_reports_nothing_to_its_makers(context: Context, run: int, uri: str) -> None:
    logged(context, run, uri)
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    from mlflow.telemetry.utils import is_telemetry_disabled

    assert is_telemetry_disabled()


def test_the_curves_of_a_training_are_a_table_and_a_figure(
    cli: Cli, context: Context, tmp_path: Path
) -> None:
    layers = Architecture.from_dict(
        {
            "name": "pets",
            "input": {"height": 8, "width": 8, "image_max": 16},
            "classes": 10,
            "features": [{"kind": "dense", "units": 8, "activation": "tanh"}],
            "training": {"epochs": 3, "batch_size": 16, "validation": 0.25},
        }
    )
    queued = enqueue_training(context.database, layers, some_images(60), transfer="energy", seed=3)
    work_off(context, Message(Task.TRAIN_NETWORK, queued.id))
    cli("networks", "curves", "pets", "-o", tmp_path / "c.json")
    rows = json.loads((tmp_path / "c.json").read_text())
    with context.database.reading() as session:
        epochs = (networks_queries.network(session, queued.id).metrics or {})["epochs"]
    assert [row["step"] for row in rows] == [epoch["epoch"] for epoch in epochs]
    assert [row["loss"] for row in rows] == [epoch["loss"] for epoch in epochs]
    assert [row["validation_loss"] for row in rows] == [epoch["validation_loss"] for epoch in epochs]
    assert cli("networks", "curves", "pets").count("\n") == 1 + len(epochs)
    Image = pytest.importorskip("PIL.Image")
    cli("networks", "curves", "pets", "--plot", tmp_path / "c.png")
    assert np.asarray(Image.open(tmp_path / "c.png")).std() > 0
    with pytest.raises(ParameterError, match="not a figure"):
        cli("networks", "curves", "pets", "--plot", tmp_path / "c.txt")
