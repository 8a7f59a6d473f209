"""Bundles of all kinds of runs: calibrated, of several rounds, scored again, by reference, unfinished."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import insert, select, update

from producer.calibration.enqueue import enqueue_calibration
from producer.calibration.grid import ParameterGrid
from producer.images.imageset import ImageSet
from producer.intake.find import source_for
from producer.intake.open import open_intake
from producer.intake.read_on import read_on
from producer.networks.choose import choose_network
from producer.networks.chosen import ChosenNetwork
from producer.runs import control
from producer.runs.enqueue import enqueue_run
from producer.runs.request import ClassificationRequest, RunOptions
from producer.runs.rescore import enqueue_rescored, hinted_batches
from schema.codecs import arrays
from schema.database import Database
from schema.errors import AnnealqError
from schema.messages import Message, Task
from schema.network import weights
from schema.network.architecture import Architecture
from schema.parameters import Parameters, Round, Rule, Solver, Visible
from schema.settings import load
from schema.settings.folders import allow_folders
from schema.settings.worker import WorkerSettings
from schema.shapes import ImageShape
from schema.states import BatchState, ProblemState, RunState
from schema.tables import Batch, BatchImages, Calibration, Network, Problem, Run
from tests.emulators import TOKEN, Emulator
from tests.integration.conftest import Outbox, network_row, some_images, work_off, work_off_but
from tests.integration.proof.bundles import bundled, classify, verified
from tests.integration.runs.test_guarantee import calibrate, plausible
from worker.context import Context
from worker.network.layers import NetworkModule
from worker.proof.verify import Findings

QUBITS = Parameters(reads=20, qpu="tiny", visible=Visible.FOLDED, tiles=3)
ROUNDS = (Round(15, 100.0, 0.3),)
GRID = ParameterGrid(reads=30, factors=(1.0,), sweeps=(3,))


def proven(findings: Findings, *texts: str) -> bool:
    """Whether nothing is wrong, and each of ``texts`` is in something that is proven."""
    assert findings.wrong == []
    return all(any(text in each for each in findings.proven) for text in texts)


def scored_again(context: Context, run: int, calibration: int | None = None, **changes: Any) -> int:
    again = enqueue_rescored(context.database, run, changes, None, calibration).id
    with context.database.reading() as session:
        hints = [Message(Task.AGGREGATE_BATCH, batch) for batch in hinted_batches(session, again)]
    work_off(context, *hints)
    assert state_of(context, again) is RunState.DONE
    return again


def state_of(context: Context, run: int) -> RunState:
    with context.database.reading() as session:
        return session.get_one(Run, run).state


@pytest.mark.parametrize(
    ("changes", "images"),
    [({}, True), ({"confidence": 0.8}, False), ({"confidence": 0.8, "rounds": ROUNDS, "reads": 10}, True)],
    ids=["calibrated", "sets", "sets-and-rounds"],
)
def test_a_calibrated_run_is_proven_with_its_sets_of_classes(
    context: Context, working: ChosenNetwork, tmp_path: Path, changes: dict[str, Any], images: bool
) -> None:
    calibration = calibrate(context, working, plausible(context, working, 60, seed=3), GRID)
    with context.database.reading() as session:
        fitted = session.get_one(Calibration, calibration).parameters or {}
    parameters = replace(Parameters.from_dict({**fitted, "seed": 5}), **changes)
    options = RunOptions(batch_size=10, calibrated_by=calibration)
    drawn = plausible(context, working, 25, seed=8)
    run = enqueue_run(context.database, drawn, working, Solver.LOCAL, parameters, options).id
    work_off(context, Message(Task.DISPATCH))
    findings = bundled(context, run, tmp_path / "run.zip", images=images)
    assert proven(findings, "results of 25 images computed again", "figures of the statistics")
    assert verified(tmp_path / "run.zip") == findings
    if "confidence" in changes:
        again = scored_again(context, run, calibration, confidence=0.6)
        assert proven(bundled(context, again, tmp_path / "again.zip"), "results of 25 images")


@pytest.mark.parametrize("changes", [{"rule": Rule.BOLTZMANN}, {"fraction": 0.5}], ids=["rule", "fraction"])
def test_a_run_of_several_rounds_that_is_scored_again_is_proven(
    context: Context, network: ChosenNetwork, tmp_path: Path, changes: dict[str, Any]
) -> None:
    run = classify(context, network, Solver.LOCAL, Parameters(reads=10, rounds=ROUNDS))
    again = scored_again(context, run, **changes)
    third = scored_again(context, again, fraction=0.9)
    for each in (again, third):
        findings = bundled(context, each, tmp_path / f"{each}.zip", images=True)
        assert proven(findings, "results of 25 images", "features of 25 images")


def test_exact_reads_are_proven(context: Context, network: ChosenNetwork, tmp_path: Path) -> None:
    run = classify(context, network, Solver.EXACT, Parameters(reads=10, visible=Visible.FOLDED))
    assert proven(bundled(context, run, tmp_path / "run.zip", images=True), "results of 25 images")


@pytest.mark.parametrize("shape", [(6, 4, 3), (5,)], ids=["colour", "vectors"])
def test_colours_and_vectors_are_proven(context: Context, tmp_path: Path, shape: tuple[int, ...]) -> None:
    takes = {"kind": "vector", "values": 5} if shape == (5,) else {"height": 6, "width": 4, "channels": 3}
    _store_network(context.database, takes)
    rng = np.random.default_rng(8)
    images = (
        rng.normal(size=(25, 5)).astype(np.float32) if shape == (5,) else rng.integers(0, 256, (25, *shape))
    )
    images = images if shape == (5,) else images.astype(np.uint8)
    with context.database.reading() as session:
        network = choose_network(session, "other", ImageShape.of(images))
    given = ImageSet("random", images, rng.integers(0, 3, 25), None, None)
    options = RunOptions(batch_size=10)
    run = enqueue_run(context.database, given, network, Solver.LOCAL, Parameters(reads=5), options).id
    work_off(context, Message(Task.DISPATCH))
    findings = bundled(context, run, tmp_path / "run.zip", images=True)
    assert proven(findings, "results of 25 images", "features of 25 images follow from their pixels")


def _store_network(database: Database, takes: dict[str, Any]) -> None:
    layer = {"kind": "dense", "units": 4, "activation": "tanh"}
    layers = Architecture.from_dict({"name": "other", "input": takes, "classes": 3, "features": [layer]})
    module = NetworkModule(layers)
    data = weights.encode({key: value.numpy() for key, value in module.folded().items()}, layers)
    row = network_row() | {"name": "other", "architecture": layers.to_dict(), "classes": ["a", "b", "c"]}
    row |= {"weights": data, "weights_sha256": weights.digest(data), **layers.input.image_shape.row()}
    row |= {"content_sha256": arrays.digest(b"other")}
    with database.transaction() as session:
        session.execute(insert(Network).values(row))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder that batches may refer to."""
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    monkeypatch.setenv("ANNEALQ_REFERENCE_FOLDERS", str(allowed))
    load()
    yield allowed
    allow_folders(())


def test_images_by_reference_are_read_from_their_file(
    context: Context, working: ChosenNetwork, folder: Path, tmp_path: Path
) -> None:
    np.save(folder / "images.npy", some_images(25).images)
    source = source_for(ClassificationRequest(data=str(folder / "images.npy"), by_reference=True))
    assert source is not None
    options = RunOptions(batch_size=10)
    run = open_intake(
        context.database, source, working, Solver.LOCAL, Parameters(reads=5), options, by_reference=True
    ).id
    read_on(context.database, run, source)
    work_off(context, Message(Task.DISPATCH))
    path = tmp_path / "run.zip"
    findings = bundled(context, run, path, images=True)
    assert proven(findings, "results of 25 images", "features of 25 images")
    (folder / "images.npy").unlink()
    assert verified(path) == findings  # it does not need the file
    with pytest.raises(AnnealqError, match=r"images\.npy"):
        bundled(context, run, tmp_path / "again.zip")


def in_three_batches(context: Context, network: ChosenNetwork, parameters: Parameters) -> int:
    options = RunOptions(batch_size=10)
    return enqueue_run(context.database, some_images(25), network, Solver.LOCAL, parameters, options).id


def test_a_cancelled_run_is_proven_as_far_as_it_was_scored(
    context: Context, network: ChosenNetwork, tmp_path: Path
) -> None:
    run = in_three_batches(context, network, Parameters(reads=5))
    hints = work_off_but(context, Task.SAMPLE_BATCH, Message(Task.DISPATCH))
    assert len(hints) == 3
    work_off(context, hints[0])
    work_off_but(context, Task.AGGREGATE_BATCH, hints[1])
    control.cancel(context.database, run)
    work_off(context, hints[2])
    findings = bundled(context, run, tmp_path / "run.zip", images=True)
    assert proven(findings, "results of 10 images")
    assert any("10 images with reads and no result" in each for each in findings.unproven)
    assert any("it was not scored to its end" in each for each in findings.unproven)


def test_a_run_that_is_cancelled_before_it_began_is_proven(
    context: Context, network: ChosenNetwork, tmp_path: Path
) -> None:
    run = enqueue_run(context.database, some_images(25), network, Solver.LOCAL, Parameters(reads=5)).id
    control.cancel(context.database, run)
    findings = bundled(context, run, tmp_path / "run.zip", images=True)
    assert proven(findings, "results of 0 images")


def test_a_run_that_is_cancelled_in_its_second_round_has_the_results_of_the_first(
    context: Context, network: ChosenNetwork, tmp_path: Path
) -> None:
    parameters = Parameters(reads=4, rounds=ROUNDS)
    run = in_three_batches(context, network, parameters)
    (end,) = work_off_but(context, Task.AGGREGATE_RUN, Message(Task.DISPATCH))
    hints = work_off_but(context, Task.SAMPLE_BATCH, end)
    assert hints
    control.cancel(context.database, run)
    work_off(context, *hints)
    assert proven(bundled(context, run, tmp_path / "run.zip", images=True), "results of 25 images")


def test_a_failed_run_is_proven_as_far_as_it_was_scored(
    context: Context, network: ChosenNetwork, tmp_path: Path
) -> None:
    run = in_three_batches(context, network, Parameters(reads=5))
    with context.database.transaction() as session:
        second = session.execute(select(Batch.id).where(Batch.ordinal == 1)).scalar_one()
        pixels = session.get_one(BatchImages, second).images
        wrong = update(BatchImages).where(BatchImages.batch_id == second)
        session.execute(wrong.values(images=b"x" + pixels[1:]))
    work_off(context, Message(Task.DISPATCH))
    for _ in range(5):  # its attempts
        with context.database.transaction() as session:
            due = update(Batch).where(Batch.state == BatchState.PENDING)
            session.execute(due.values(due_at=Batch.created_at))
        work_off(context, Message(Task.DISPATCH))
    assert state_of(context, run) is RunState.FAILED
    with pytest.raises(AnnealqError, match=rf"batch {second} of run {run}"):
        bundled(context, run, tmp_path / "damaged.zip")
    with context.database.transaction() as session:
        session.execute(wrong.values(images=pixels))
    findings = bundled(context, run, tmp_path / "run.zip", images=True)
    assert proven(findings, "results of 15 images")


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator("--solver=tiny=pegasus:6:6:10", f"--token={TOKEN}") as emulator:
        yield emulator


@pytest.fixture
def qpu_context(database: Database, outbox: Outbox, emulator: Emulator) -> Iterator[Context]:
    context = Context(database, WorkerSettings(solver_timeout_s=5.0, max_attempts=1), outbox)
    context.solvers.shared = load(emulator_url=emulator.endpoint, emulator_token=TOKEN)
    yield context
    context.solvers.disconnect(Solver.EMULATOR, QUBITS)
    emulator.break_down(clear=True)


@pytest.mark.parametrize("charged", [False, True])
def test_problems_that_failed_at_the_solver_are_in_the_bundle_of_their_run(
    qpu_context: Context, network: ChosenNetwork, emulator: Emulator, tmp_path: Path, *, charged: bool
) -> None:
    emulator.break_down({"target": "problem", "kind": "fail", "charged": charged, "count": 4})
    run = classify(qpu_context, network, Solver.EMULATOR, QUBITS)
    with qpu_context.database.reading() as session:
        states = set(session.execute(select(Problem.state)).scalars())
    assert ProblemState.FAILED in states
    assert ProblemState.ANSWERED in states
    findings = bundled(qpu_context, run, tmp_path / "run.zip", images=True)
    assert proven(findings, "problems built again", "charges of")


def test_a_calibrated_run_on_qubits_is_proven(
    qpu_context: Context, working: ChosenNetwork, tmp_path: Path
) -> None:
    grid = ParameterGrid.embedded(
        reads=20, qpu="tiny", tiles=3, visibles=(Visible.FOLDED,), chain_strengths=(1.0,), scales=(1.0,)
    )
    images = plausible(qpu_context, working, 40, seed=3)
    made = enqueue_calibration(qpu_context.database, images, working, Solver.EMULATOR, grid, None).id
    work_off(qpu_context, Message(Task.PLAN_CALIBRATION, made))
    with qpu_context.database.reading() as session:
        fitted = session.get_one(Calibration, made).parameters
        sampled = session.execute(select(Run.id).where(Run.calibrates == made)).scalars().all()
    assert fitted is not None
    parameters = replace(Parameters.from_dict({**fitted, "seed": 5}), confidence=0.8)
    options = RunOptions(batch_size=10, calibrated_by=made)
    drawn = plausible(qpu_context, working, 20, seed=8)
    run = enqueue_run(qpu_context.database, drawn, working, Solver.EMULATOR, parameters, options).id
    work_off(qpu_context, Message(Task.DISPATCH))
    for each in (run, *sampled):  # those of the calibration, too
        findings = bundled(qpu_context, each, tmp_path / f"{each}.zip")
        assert proven(findings, "problems built again", "results of", "charges of")
