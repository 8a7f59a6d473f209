"""A network of two sources, through the queue: trained, classified with and without one of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sqlalchemy import select

from producer.calibration.guarantee import differences
from producer.images.imageset import ImageSet
from producer.networks.choose import choose_network
from producer.networks.training import enqueue_training
from producer.runs.dry_runs import enqueue_dry_run
from producer.runs.enqueue import enqueue_run
from producer.runs.request import RunOptions
from producer.runs.rescore import changed_parameters
from schema.codecs.nonconformity import Nonconformity
from schema.database import Database
from schema.errors import IdempotencyConflict, ParameterError
from schema.messages import Message, Task
from schema.network.architecture import Architecture
from schema.parameters import Parameters, Solver, Visible
from schema.shapes import ImageShape
from schema.tables import Classification, Preparation, Run, Schedule
from tests.integration.conftest import Cli, work_off
from worker.context import Context
from worker.qubo.class_states import class_minima

TRAINED, TESTED = 900, 60


def layers(dropout: float = 0.25, name: str = "halves") -> Architecture:
    dense = {"kind": "dense", "units": 16, "activation": "tanh"}
    halves = {"upper": [0, 31], "lower": [32, 63]}
    sources = [
        {"name": half, "columns": columns, "dropout": dropout, "decay": 1.0, "features": [dense]}
        for half, columns in halves.items()
    ]
    plan = {"epochs": 12, "margin": 2.0, "learning_rate": 0.01}
    given = {"name": name, "input": {"kind": "vector", "values": 64}, "classes": 10, "source": sources}
    return Architecture.from_dict({**given, "training": plan})


def digits() -> tuple[ImageSet, ImageSet]:
    data = load_digits()
    vectors = data.data.astype(np.float32)
    parts = (slice(0, TRAINED), slice(TRAINED, TRAINED + TESTED))
    train, test = (ImageSet("digits", vectors[part], data.target[part], None, None) for part in parts)
    return train, test


def classes_of(database: Database, run: int) -> list[int | None]:
    query = select(Classification.predicted).where(Classification.run_id == run)
    with database.reading() as session:
        return list(session.scalars(query.order_by(Classification.image)))


def train(context: Context, architecture: Architecture, images: ImageSet) -> Any:
    queued = enqueue_training(context.database, architecture, images, transfer="energy", seed=0)
    work_off(context, Message(Task.TRAIN_NETWORK, queued.id))
    with context.database.reading() as session:
        return choose_network(session, architecture.name, ImageShape.vector(64))


def test_a_run_without_a_source_is_that_of_its_network_without_it(context: Context, cli: Cli) -> None:
    images, test = digits()
    network = train(context, layers(), images)
    database = context.database
    parameters = [Parameters(reads=200, visible="folded", without=without) for without in (None, ("upper",))]
    runs = [enqueue_run(database, test, network, Solver.EXACT, each).id for each in parameters]
    work_off(context, Message(Task.DISPATCH))

    with database.reading() as session:
        own = context.networks.get(session, network.id)
        stored = [session.get_one(Run, run).parameters for run in runs]
        assert session.get_one(Run, runs[0]).content_sha256 != session.get_one(Run, runs[1]).content_sha256
    assert "without" not in stored[0]
    assert stored[1]["without"] == ["upper"]
    accuracies = []
    for run, without in zip(runs, ((), ("upper",)), strict=True):
        predicted = np.array([-1 if k is None else k for k in classes_of(database, run)])
        left = own.leaving_out(without)
        model = left.model("folded", None)
        minima = class_minima(model, model.linear(left.features(test.images)))
        assert minima is not None
        assert (predicted == minima.argmin(axis=1)).mean() > 0.95
        accuracies.append((predicted == test.labels).mean())
    assert accuracies[0] > accuracies[1] > 0.3

    shown = cli("runs", "show", runs[1])
    assert "without upper" in shown
    assert json.loads(cli("runs", "show", runs[1], "--json"))["parameters"]["without"] == ["upper"]
    network_page = cli("networks", "show", "halves")
    assert "source upper" in network_page
    assert "own accuracy with all" in network_page
    assert "ECE" in network_page
    assert "own accuracy with all" in cli("runs", "report", runs[1], "--md")


def test_what_a_network_cannot_do_without_is_refused(context: Context, network: Any) -> None:
    images, test = digits()
    bound = train(context, layers(dropout=0.0, name="bound"), images)
    free = train(context, layers(), images)

    def enqueue(chosen: Any, *without: str) -> None:
        enqueue_run(context.database, test, chosen, Solver.LOCAL, Parameters(without=without))

    with pytest.raises(ParameterError, match=r"'bound' was trained with source 'lower' .*dropout = 0.2"):
        enqueue(bound, "lower")
    with pytest.raises(
        ParameterError, match="'left': network 'halves' has no such source: it has upper, lower"
    ):
        enqueue(free, "left")
    with pytest.raises(ParameterError, match="without lower, upper network 'halves' has no source left"):
        enqueue(free, "upper", "lower")
    with pytest.raises(
        ParameterError, match="'upper': network 'digits' has no such source: it has no sources"
    ):
        network.refuse_without(("upper",))
    parameters = Parameters(qpu="tiny", without=("left",))
    with pytest.raises(ParameterError, match="'left': network 'halves' has no such source"):
        enqueue_dry_run(context.database, free.id, Solver.EMULATOR, parameters, images=1, batch_size=1)
    with context.database.reading() as session:
        assert session.scalars(select(Run.id)).all() == []
        assert session.scalars(select(Preparation.id)).all() == []


@pytest.mark.parametrize(
    "command",
    [
        ("classify", "DATA", "--dry-run"),
        ("classify", "DATA", "--dry-run", "--target", "0.9"),
        ("schedules", "add", "nightly", "--cron", "0 22 * * *", "--", "classify", "DATA"),
    ],
)
def test_a_command_names_the_sources_that_there_are(
    context: Context, cli: Cli, tmp_path: Path, command: tuple[str, ...]
) -> None:
    images, test = digits()
    train(context, layers(), images)
    np.savez(tmp_path / "test.npz", x=test.images, y=test.labels)
    words = [str(tmp_path / "test.npz") if word == "DATA" else word for word in command]
    with pytest.raises(ParameterError, match="no such source: it has upper, lower"):
        cli(*words, "--as", "vectors", "--network", "halves", "--solver", "local", "--without", "left")
    with context.database.reading() as session:
        assert session.scalars(select(Schedule.id)).all() == []


def test_what_is_left_out_is_part_of_a_request_and_stays_when_it_is_scored_again(context: Context) -> None:
    images, test = digits()
    network = train(context, layers(), images)

    def enqueue(without: tuple[str, ...] | None) -> int:
        options = RunOptions(key="one")
        parameters = Parameters(reads=5, without=without)
        return enqueue_run(context.database, test, network, Solver.LOCAL, parameters, options).id

    first = enqueue(("upper",))
    assert enqueue(("upper", "upper")) == first
    with pytest.raises(IdempotencyConflict, match="other values of without"):
        enqueue(None)
    with context.database.reading() as session:
        stored = session.get_one(Run, first).parameters
    assert changed_parameters(stored, stored, {"reads": 3}).without == ("upper",)


def test_a_guarantee_of_all_sources_is_none_without_one() -> None:
    known = Nonconformity(np.zeros(0, np.int64), {})
    calibrated, own = Parameters().to_dict(), dict.fromkeys(Visible)
    found = differences(Parameters(without=("upper",)), calibrated, known, own)
    assert any(text.startswith("without ('upper',), calibrated default") for text in found)
    assert not any("without" in text for text in differences(Parameters(), calibrated, known, own))


def test_one_export_holds_sources(context: Context, cli: Cli, tmp_path: Path) -> None:
    images, _ = digits()
    train(context, layers(), images)
    cli("networks", "export", "halves", "-o", tmp_path / "h.safetensors")
    files = ("-a", tmp_path / "h.json", "-w", tmp_path / "h.safetensors")
    again = json.loads(cli("networks", "import", "other", *files, "--json"))
    assert [each["name"] for each in again["architecture"]["source"]] == ["upper", "lower"]
