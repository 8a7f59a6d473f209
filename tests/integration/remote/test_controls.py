"""Controls beside an accuracy on qubits, against a solver whose reads are random bits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select

from producer.dashboard.report import run_facts, run_values
from producer.networks.chosen import ChosenNetwork
from producer.runs import queries
from producer.runs.enqueue import RunOptions, enqueue_run
from producer.runs.rescore import enqueue_rescored, hinted_batches
from schema.messages import Message, Task
from schema.parameters import Parameters, Solver, Unembedding, Visible
from schema.settings import load as load_settings
from schema.settings.worker import WorkerSettings
from schema.tables import Run
from tests.emulators import TOKEN, Emulator
from tests.integration.conftest import Cli, Outbox, some_images, work_off
from worker.compute.controls import spread
from worker.context import Context
from worker.network import inference

PARAMETERS = Parameters(reads=20, qpu="tiny", tiles=8, visible=Visible.FOLDED)
IMAGES = 160


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator("--solver=tiny=pegasus:6:6:10", f"--token={TOKEN}", samples="instant") as emulator:
        yield emulator


def a_context(database: Any, outbox: Outbox, emulator: Emulator, **limits: Any) -> Context:
    context = Context(database, WorkerSettings(max_attempts=2, solver_timeout_s=5.0, **limits), outbox)
    context.solvers.shared = load_settings(emulator_url=emulator.endpoint, emulator_token=TOKEN)
    return context


def classify(
    context: Context,
    network: ChosenNetwork,
    count: int = 8,
    *,
    labelled: bool = True,
    solver: Solver = Solver.EMULATOR,
) -> int:
    """Classify ``count`` images with the labels that the network itself gives them; return the run's id."""
    images = some_images(count, seed=3)
    with context.database.reading() as session:
        own = context.networks.get(session, network.id)
    labels = inference.classify(own.architecture, own.weights, images.images, own.transfer)
    images = replace(images, labels=labels if labelled else None)
    parameters = PARAMETERS if solver is Solver.EMULATOR else Parameters(reads=20)
    run = enqueue_run(context.database, images, network, solver, parameters, RunOptions(batch_size=100))
    work_off(context, Message(Task.DISPATCH))
    return run.id


def controls(context: Context, run: int) -> Any:
    with context.database.reading() as session:
        statistics = session.execute(select(Run.statistics).where(Run.id == run)).scalar_one()
    assert statistics is not None
    return statistics["controls"]


def exact_accuracy(context: Context, network: ChosenNetwork) -> float:
    """Return how often the state of lowest energy with one class unit on, of all of them, has the class."""
    images = some_images(IMAGES, seed=3)
    with context.database.reading() as session:
        own = context.networks.get(session, network.id)
    labels = inference.classify(own.architecture, own.weights, images.images, own.transfer)
    model = own.model(PARAMETERS.visible, None)
    states = np.broadcast_to(np.eye(model.units, dtype=np.uint8), (IMAGES, model.units, model.units))
    energies = model.energies(model.linear(own.features(images.images)), states)
    return float(np.mean(energies.argmin(axis=1) == labels))


def test_a_solver_of_random_bits_is_as_good_as_its_control(
    database: Any, outbox: Outbox, working: ChosenNetwork, emulator: Emulator, cli: Cli
) -> None:
    context = a_context(database, outbox, emulator, control_images=IMAGES)
    run = classify(context, working, IMAGES)
    found = controls(context, run)
    assert (found["network"]["accuracy"], found["network"]["images"]) == (1.0, IMAGES)
    assert all(found[name]["us_per_image"] > 0 for name in ("network", "exact_minimum", "random_bits"))
    assert found["exact_minimum"]["accuracy"] == exact_accuracy(context, working)
    assert found["random_bits"]["images"] == IMAGES
    with database.reading() as session:
        reached = queries.counts(session, run).accuracy or 0.0
        tiles = run_values.results_values(run_facts.read_results(session, queries.run(session, run)))["tiles"]
    assert 0.05 < reached < 0.95
    assert found["random_bits"]["accuracy"] == pytest.approx(reached, abs=5 * (0.5 / IMAGES) ** 0.5)
    shown = cli("runs", "show", str(run))
    assert "controls" in shown
    assert f"{found['random_bits']['accuracy']:.0%} by random bits ({IMAGES} images" in shown
    assert [tile[0] for tile in tiles[:3]] == ["accuracy", "network itself", "exact minimum"]

    changes = {"unembedding": Unembedding.MAJORITY_VOTE, "reads": 1, "fraction": 1.0}
    again = enqueue_rescored(database, run, changes).id
    with database.reading() as session:
        hints = [Message(Task.AGGREGATE_BATCH, batch) for batch in hinted_batches(session, again)]
    work_off(context, *hints)
    one_read = controls(context, again)
    assert one_read["network"]["accuracy"] == found["network"]["accuracy"]
    assert one_read["random_bits"]["accuracy"] < found["random_bits"]["accuracy"] - 0.1
    context.solvers.disconnect(Solver.EMULATOR, PARAMETERS)


def test_controls_are_left_out_where_they_say_nothing_or_are_not_wanted(
    database: Any, outbox: Outbox, working: ChosenNetwork, emulator: Emulator
) -> None:
    context = a_context(database, outbox, emulator)
    assert controls(context, classify(context, working, labelled=False)) is None
    assert controls(context, classify(context, working, solver=Solver.LOCAL)) is None
    context.solvers.disconnect(Solver.EMULATOR, PARAMETERS)
    unwanted = a_context(database, outbox, emulator, control_images=0)
    assert controls(unwanted, classify(unwanted, working)) is None
    unwanted.solvers.disconnect(Solver.EMULATOR, PARAMETERS)


def test_images_are_taken_from_all_parts() -> None:
    assert spread(5, 9).tolist() == [0, 1, 2, 3, 4]
    assert spread(1_000_000, 3).tolist() == [0, 500_000, 999_999]
    assert len(np.unique(spread(2_001, 2_000))) == 2_000
