"""Networks, calibrations and dry runs by the client, which waits for them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from annealq import Network as PublicNetwork
from producer.calibration.enqueue import enqueue_calibration
from producer.calibration.grid import ParameterGrid
from producer.client import Client, RequestRejected, WorkFailed
from producer.networks.chosen import ChosenNetwork
from schema.messages import Message, Task
from schema.parameters import Parameters, Solver
from schema.settings import load
from schema.states import NetworkState
from schema.tables import Network
from tests.emulators import TOKEN, Emulator
from tests.integration.conftest import some_images, work_off
from worker.context import Context
from worker.pipeline.dry_run import plan_dry_run
from worker.pipeline.train import train_network

States = list[str]


@pytest.fixture
def annealq(address: str) -> Iterator[Client]:
    with Client(address, patience_s=0) as opened:
        yield opened


def test_a_training_is_waited_for(annealq: Client, context: Context) -> None:
    images, states = some_images(30), States()
    pinned = annealq.train(images.images, images.labels, name="mine", architecture="digits", epochs=1, seed=3)
    assert pinned == "mine@1"
    with pytest.raises(TimeoutError, match="network mine@1 is queued"):
        annealq.wait_for_network(pinned, timeout_s=0)

    def work(network: dict[str, Any]) -> None:
        states.append(network["state"])
        if network["state"] == "queued":
            train_network(context, network["network_id"])

    trained = annealq.wait_for_network(pinned, on_progress=work)
    assert states == ["queued", "ready"]
    assert (trained["name"], trained["training"]["seed"]) == ("mine", 3)
    again = annealq.train(images.images, images.labels, name="mine", architecture="digits", epochs=1, seed=3)
    assert again == pinned


def test_a_training_that_failed_is_an_error(annealq: Client, context: Context) -> None:
    images = some_images(30)
    layers = annealq.network(annealq.train(images.images, images.labels, name="mine", epochs=1))["layers"]
    pinned = annealq.train(images.images, images.labels, name="other", architecture=layers, epochs=1)
    with context.database.transaction() as session:
        now = context.database.now(session)
        failed = {"state": NetworkState.FAILED, "error": "no memory", "finished_at": now}
        session.execute(update(Network).where(Network.name == "other").values(failed))
    with pytest.raises(WorkFailed, match="network other@1 failed: no memory"):
        annealq.wait_for_network(pinned)


def test_a_network_is_added_once(annealq: Client, tmp_path: Path) -> None:
    path = tmp_path / "theirs.safetensors"
    PublicNetwork.load("digits5x5").save(path)
    described = path.with_suffix(".json").read_text()
    pinned = annealq.add_network(path, architecture=described, name="theirs")
    assert pinned == "theirs@1"
    assert annealq.add_network(path.read_bytes(), architecture=described, name="theirs") == pinned
    assert annealq.wait_for_network("theirs")["origin"] == "imported"
    with pytest.raises(RequestRejected, match="architecture"):
        annealq.add_network(path, architecture="{}")


def test_a_calibration_is_waited_for(annealq: Client, context: Context, working: ChosenNetwork) -> None:
    grid = ParameterGrid(reads=20, factors=(1.0,))
    made = enqueue_calibration(context.database, some_images(30), working, Solver.LOCAL, grid).id

    def work(calibration: dict[str, Any]) -> None:
        if calibration["state"] == "waiting":
            work_off(context, Message(Task.PLAN_CALIBRATION, made))

    assert annealq.wait_for_calibration(made, on_progress=work)["parameters"]["reads"] > 0


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_dry_run_is_waited_for(
    annealq: Client, context: Context, working: ChosenNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Parameters(qpu="tiny", visible="folded")  # type: ignore[arg-type]
    with Emulator("--solver=tiny=pegasus:6:6:10", f"--token={TOKEN}") as emulator:
        context.solvers.shared = load(emulator_url=emulator.endpoint, emulator_token=TOKEN)

        def work(dry_run: dict[str, Any]) -> None:
            if dry_run["state"] == "queued":
                plan_dry_run(context, dry_run["preparation_id"])

        found = annealq.dry_run(
            network="digits", solver="emulator", images=30, qpu="tiny", visible="folded", on_progress=work
        )
        context.solvers.disconnect(Solver.EMULATOR, asked)
    assert found["plan"]["problems"] >= 1
    assert found["plan"]["qpu_us"] > 0
    with pytest.raises(RequestRejected, match="does not use embeddings"):
        annealq.dry_run(network="digits", solver="local", images=30)
