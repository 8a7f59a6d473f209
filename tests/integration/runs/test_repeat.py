"""The commands that a report prints repeat its run: in another database, every image gets the same scores."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from sqlalchemy import update

from producer.dashboard.report import provenance, run_facts
from producer.networks import shipped, versions
from producer.runs import queries, results
from producer.stack.stack import Stack
from schema.database import Database
from schema.messages import Message, Task
from schema.network import weights
from schema.network.architecture import Architecture
from schema.parameters import Origin
from schema.settings import load
from schema.settings.worker import WorkerSettings
from schema.states import NetworkState
from schema.tables import Network
from tests.integration.conftest import START, Cli, Outbox, work_off
from tests.serving import client, serving
from worker.context import Context


@pytest.fixture(autouse=True)
def _broker() -> Iterator[None]:
    with Stack(load(), children=()):
        yield


@pytest.fixture
def http(database_url: str) -> Iterator[httpx.Client]:
    with serving(database_url) as address, client(address) as opened:
        yield opened


@pytest.fixture
def fresh(_sqlite_template: Path, tmp_path: Path) -> Iterator[Context]:
    """Yield another database, without runs and networks, and a worker of it."""
    path = tmp_path / "fresh.db"
    shutil.copy(_sqlite_template, path)
    database = Database(f"sqlite:///{path}")
    yield Context(database, WorkerSettings(max_attempts=1), Outbox())
    database.dispose()


def classified(context: Context, run: int) -> list[dict[str, object]]:
    """Work off ``run`` and return what `runs export` writes of its images, apart from names of files."""
    work_off(context, Message(Task.DISPATCH))
    with context.database.reading() as session:
        rows = list(results.rows(session, run, queries.classes(session, run)))
    return [{name: value for name, value in row.items() if name != "source"} for row in rows]


def repeat(
    cli: Cli, context: Context, run: int, fresh: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[list[str], int]:
    """Run the commands that the report of ``run`` prints, the last on ``fresh``; return them and its run."""
    with context.database.reading() as session:
        facts = run_facts.read(session, run)
        commands = provenance.commands(facts.run, facts.provenance)
    monkeypatch.chdir(tmp_path)
    for command in commands[:-1]:
        cli(*shlex.split(command)[1:])
    monkeypatch.setenv("ANNEALQ_DATABASE_URL", str(fresh.database.engine.url))
    again = json.loads(cli(*shlex.split(commands[-1])[1:], "--detach", "--json"))
    return commands, again["run_id"]


def test_files_are_named_with_every_option_that_chose_their_images(
    context: Context, cli: Cli, fresh: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "my data"
    folder.mkdir()
    rng = np.random.default_rng(3)
    np.savez(
        folder / "a.npz",
        test_images=rng.integers(0, 256, (40, 20, 24), dtype=np.uint8),
        train_images=rng.integers(0, 256, (40, 20, 24), dtype=np.uint8),
    )
    np.save(folder / "truth.npy", rng.integers(0, 10, 40))
    monkeypatch.chdir(folder)
    chosen = ["--labels", "truth.npy", "--classes", "1,3,4,8", "--limit", 9, "--name", "nine"]
    prepared = ["--resize", 28, "--fit", "pad", "--invert"]
    sampling = ["--reads", 7, "--seed", 5, "--rule", "boltzmann", "--sweeps", 4]
    done = json.loads(cli("classify", "a.npz:test", *chosen, *prepared, *sampling, "--detach", "--json"))
    first = classified(context, done["run_id"])
    commands, again = repeat(cli, context, done["run_id"], fresh, tmp_path, monkeypatch)
    assert len(commands) == 1
    assert len(first) == 9
    assert classified(fresh, again) == first
    with context.database.reading() as one, fresh.database.reading() as other:
        assert queries.run(one, done["run_id"]).name == queries.run(other, again).name == "nine"

    np.save(folder / "truth.npy", rng.integers(0, 10, 40))  # other labels: the file is not what was read
    with context.database.reading() as session:
        facts = run_facts.read(session, done["run_id"])
        commands = provenance.commands(facts.run, facts.provenance)
    assert commands[0].startswith("annealq runs export")


def test_images_that_were_sent_are_exported_first(
    context: Context,
    cli: Cli,
    http: httpx.Client,
    fresh: Context,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    versions.install(context.database, shipped.load("digits"), Origin.SHIPPED)
    rng = np.random.default_rng(4)
    images = {"images": rng.integers(0, 17, (12, 8, 8)).tolist(), "labels": rng.integers(0, 10, 12).tolist()}
    fields = {"classes": "0,1,2,4", "batch_size": 3, "reads": 20, "name": "sent"}
    answer = http.post("/v1/runs", json={**images, **fields})
    assert answer.status_code == 202, answer.text
    run = answer.json()["run_id"]
    first = classified(context, run)
    assert len(first) > 3
    commands, again = repeat(cli, context, run, fresh, tmp_path, monkeypatch)
    assert [shlex.split(command)[1] for command in commands] == ["runs", "classify"]
    assert classified(fresh, again) == first


def test_a_network_of_own_layers_is_made_again_by_the_commands_of_networks_show(
    context: Context, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(5)
    images, labels = rng.integers(0, 256, (60, 12, 12), dtype=np.uint8), rng.integers(0, 3, 60)
    np.savez(tmp_path / "own.npz", images=images, labels=labels)
    monkeypatch.chdir(tmp_path)
    cli("networks", "new", "--data", "own.npz", "--name", "mine", "--out", "mine.toml")
    trained = ["--data", "own.npz", "--limit", 50, "--resize", "8x10", "--invert", "--epochs", 2, "--seed", 3]
    layers = tmp_path / "mine.toml"
    layers.write_text(
        layers.read_text().replace("height = 12", "height = 8").replace("width = 12", "width = 10")
    )
    train = ("networks", "train", "--architecture", layers, *trained, "--detach", "--json")
    first = json.loads(cli(*train))
    architecture = Architecture.from_dict(first["architecture"])
    drawn = {name: rng.normal(size=shape).astype(np.float32) for name, shape in architecture.shapes.items()}
    data = weights.encode(drawn, architecture)
    ready = {"weights": data, "weights_sha256": weights.digest(data), "finished_at": START}
    with context.database.transaction() as session:
        session.execute(update(Network).values(state=NetworkState.READY, **ready))
    layers.unlink()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    export, again = json.loads(cli("networks", "show", "mine", "--json"))["made_by"]
    cli(*shlex.split(export)[1:])
    repeated = json.loads(cli(*shlex.split(again)[1:], "--detach", "--json"))
    assert repeated["network_id"] == first["network_id"]
