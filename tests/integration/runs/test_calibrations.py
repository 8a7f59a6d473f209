"""Calibrations: fitted by workers on stored samples, used by later runs, refused where doubtful."""

from __future__ import annotations

import json
import zlib
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import func, insert, select, update

from producer.calibration import enqueue
from producer.calibration import queries as calibration_queries
from producer.calibration.enqueue import enqueue_calibration
from producer.calibration.grid import FACTORS, ParameterGrid
from producer.enqueued import Enqueued
from producer.images.imageset import ImageSet
from producer.networks.chosen import ChosenNetwork
from producer.reports import certainty
from producer.runs import control, queries
from producer.runs.enqueue import RunOptions, enqueue_run
from producer.runs.rescore import enqueue_rescored, hinted_batches
from producer.stack.stack import Stack
from schema.codecs import arrays, image_digests
from schema.database import Database
from schema.errors import ImageError, ParameterError
from schema.messages import Message, Task
from schema.network import temperature, weights
from schema.network.architecture import FOLDED_LAM, Architecture
from schema.parameters import Parameters, Rule, Solver, Visible
from schema.settings import load
from schema.settings.worker import WorkerSettings
from schema.shapes import ImageShape
from schema.states import BatchState, CalibrationState, RunState
from schema.tables import (
    Batch,
    BatchImages,
    Calibration,
    CalibrationPlan,
    Classification,
    Network,
    Run,
    SampleSet,
    TrainingSet,
)
from tests.integration.conftest import (
    START,
    USE_CASES,
    Cli,
    Clock,
    Outbox,
    network_row,
    some_images,
    work_off,
)
from worker import reconcile
from worker.annealers.simulated import SimulatedAnnealer
from worker.compute.candidates import Choice
from worker.context import Context
from worker.network import inference
from worker.pipeline.plan_calibration import plan_calibration
from worker.records import attempts, claims

SMALL = ParameterGrid(reads=20)
SWEEPS = SimulatedAnnealer().sweeps


def knowable(context: Context, network: ChosenNetwork, count: int = 60) -> ImageSet:
    """Return images with the labels that the network itself gives them."""
    images = some_images(count, seed=3)
    with context.database.reading() as session:
        held = context.networks.get(session, network.id)
    labels = inference.classify(held.architecture, held.weights, images.images, "energy")
    return replace(images, labels=labels)


def calibrated(
    context: Context, network: ChosenNetwork, images: ImageSet, grid: ParameterGrid = SMALL
) -> int:
    calibration = enqueue_calibration(context.database, images, network, Solver.LOCAL, grid)
    work_off(context, Message(Task.PLAN_CALIBRATION, calibration.id))
    return calibration.id


def found(database: Database, calibration: int) -> calibration_queries.CalibrationSummary:
    with database.reading() as session:
        return calibration_queries.get(session, calibration)


def newest(database: Database, network: ChosenNetwork, **asked: Any) -> enqueue.CalibrationChoice | None:
    with database.reading() as session:
        return enqueue.choose_calibration(session, network.id, Solver.LOCAL, asked, None)


def rows(database: Database, table: type) -> int:
    with database.reading() as session:
        return session.execute(select(func.count()).select_from(table)).scalar_one()


def test_what_is_promised_is_what_a_run_reaches(context: Context, working: ChosenNetwork) -> None:
    """Scoring the samples again with the fitted parameters gives the accuracy that was stored."""
    images = knowable(context, working)
    fitted = found(context.database, calibrated(context, working, images))
    assert fitted.state is CalibrationState.READY
    assert fitted.accuracy is not None
    assert fitted.accuracy > 0.8
    assert fitted.measured is not None
    assert [c["lam"] for c in fitted.measured["candidates"]] == list(FACTORS)
    row, column = fitted.measured["chosen"]
    assert fitted.measured["right"][row][column] / len(images.images) == fitted.accuracy
    parameters = Parameters.from_dict(fitted.parameters or {})
    candidates = fitted.measured["candidates"]
    source = next(c["run"] for c in candidates if c["lam"] == parameters.lam)
    again = rescored(context, source, parameters)
    with context.database.reading() as session:
        assert queries.counts(session, again).accuracy == pytest.approx(fitted.accuracy)


def rescored(context: Context, run: int, parameters: Parameters) -> int:
    names = ("reads", "rule", "fraction", "beta")
    again = enqueue_rescored(context.database, run, {name: getattr(parameters, name) for name in names}).id
    with context.database.reading() as session:
        messages = [Message(Task.AGGREGATE_BATCH, batch) for batch in hinted_batches(session, again)]
    work_off(context, *messages)
    return again


def test_the_table_of_counts_is_that_of_the_runs(context: Context, working: ChosenNetwork) -> None:
    """Check that the entry of the default rule on all reads agrees with each run's accuracy."""
    images = knowable(context, working, 30)
    fitted = found(context.database, calibrated(context, working, images))
    measured = fitted.measured or {}
    default = asdict(Choice(20, Rule.LOWEST_ENERGY_MEAN))
    column = measured["choices"].index(default)
    with context.database.reading() as session:
        for candidate, right in zip(measured["candidates"], measured["right"], strict=True):
            assert queries.counts(session, candidate["run"]).correct == right[column]


def test_the_same_calibration_is_taken_up_until_it_is_finished(
    context: Context, working: ChosenNetwork
) -> None:
    images, database = knowable(context, working, 20), context.database
    assert images.labels is not None

    def ask(sent: ImageSet = images, grid: ParameterGrid = SMALL, **others: Any) -> Enqueued:
        chosen = {"solver": Solver.LOCAL, "budget_us": None, **others}
        return enqueue_calibration(database, sent, working, chosen["solver"], grid, chosen["budget_us"])

    first = ask()
    assert first.created
    assert ask() == Enqueued(first.id, created=False)
    others = [
        ask(grid=replace(SMALL, seed=1)),
        ask(budget_us=5),
        ask(solver=Solver.EXACT),
        ask(replace(images, labels=images.labels[::-1].copy())),
        ask(images.limit(10)),
    ]
    assert len({first.id, *(each.id for each in others)}) == 6
    plan_calibration(context, first.id)
    assert ask() == Enqueued(first.id, created=False)

    with database.reading() as session:
        run = session.execute(select(Run.id).where(Run.calibrates == first.id).limit(1)).scalar_one()
    control.cancel(database, run)
    second = ask()
    assert second.created
    work_off(context, Message(Task.PLAN_CALIBRATION, second.id))
    assert found(database, second.id).state is CalibrationState.READY
    assert ask().created


def test_its_runs_have_the_temperature_of_its_images(context: Context, working: ChosenNetwork) -> None:
    """Half of the labels are wrong: the network is far too certain of itself, and a temperature says so."""
    images = knowable(context, working, 40)
    assert images.labels is not None
    wrong = images.labels.copy()
    wrong[::2] = (wrong[::2] + 1) % 10
    images = replace(images, labels=wrong)
    calibration = calibrated(context, working, images)
    fitted = temperature.fitted(found(context.database, calibration).measured)
    assert fitted is not None
    assert (fitted.images, fitted.held_out) == (40, True)
    assert fitted.value > 2.0

    def classify(calibrated_by: int | None) -> tuple[np.ndarray, str]:
        options = RunOptions(calibrated_by=calibrated_by, batch_size=20)
        run = enqueue_run(context.database, images, working, Solver.LOCAL, Parameters(reads=10), options)
        work_off(context, Message(Task.DISPATCH))
        with context.database.reading() as session:
            query = select(Classification.probability).where(Classification.run_id == run.id)
            shares = session.execute(query.order_by(Classification.image)).scalars().all()
            return np.array(shares, np.float64), certainty.read(session, run.id, None).temperature

    own, own_source = classify(None)
    ours, source = classify(calibration)
    assert own_source == "temperature 1, not fitted"
    assert source == f"{fitted} of calibration {calibration}"
    assert np.nanmean(ours) < np.nanmean(own)
    assert abs(np.nanmean(ours) - 0.5) < abs(np.nanmean(own) - 0.5)


def test_sweeps_are_compared_and_cost_what_they_cost(context: Context, working: ChosenNetwork) -> None:
    images = knowable(context, working, 20)
    grid = ParameterGrid(lams=(4.0,), sweeps=(40, 10, None), reads=10)
    fitted = found(context.database, calibrated(context, working, images, grid))
    measured = fitted.measured or {}
    assert [candidate["sweeps"] for candidate in measured["candidates"]] == [40, 10, None]
    assert [candidate["costs"][0] for candidate in measured["candidates"]] == [400, 100, 10 * SWEEPS]
    row, _ = measured["chosen"]
    sweeps = Parameters.from_dict(fitted.parameters or {}).sweeps
    assert sweeps == measured["candidates"][row]["sweeps"]


def test_the_chosen_visible_units_are_those_of_the_calibration(
    context: Context, working: ChosenNetwork
) -> None:
    visibles = (Visible.SAMPLED, Visible.FOLDED)
    grid = ParameterGrid(lams=(1.0,), reads=10, visibles=visibles)
    fitted = found(context.database, calibrated(context, working, knowable(context, working, 30), grid))
    measured, parameters = fitted.measured or {}, Parameters.from_dict(fitted.parameters or {})
    assert [candidate["visible"] for candidate in measured["candidates"]] == list(visibles)
    assert fitted.visible == parameters.visible == visibles[measured["chosen"][0]]
    asked = newest(context.database, working, visible=parameters.visible)
    assert asked is not None
    other = next(each for each in visibles if each is not parameters.visible)
    assert newest(context.database, working, visible=other) is None


def test_runs_take_what_is_not_asked_for_from_the_newest(context: Context, working: ChosenNetwork) -> None:
    database, images = context.database, knowable(context, working, 20)
    assert newest(database, working) is None
    calibrated(context, working, images, ParameterGrid(lams=(3.0,), reads=10))
    second = calibrated(context, working, images, ParameterGrid(lams=(5.0,), reads=10, seed=9))
    folded = calibrated(
        context, working, images, ParameterGrid(lams=(7.0,), reads=10, visibles=(Visible.FOLDED,))
    )
    waiting = enqueue_calibration(database, images, working, Solver.LOCAL, ParameterGrid(lams=(8.0,)))
    assert found(database, waiting.id).state is CalibrationState.WAITING
    sampled = newest(database, working, visible=Visible.SAMPLED)
    assert sampled is not None
    assert sampled.id == second
    complete = sampled.complete({"visible": Visible.SAMPLED, "reads": 33, "seed": 4})
    assert (complete.lam, complete.reads, complete.seed) == (5.0, 33, 4)
    assert sampled.complete({}).seed == 0
    any_visible = newest(database, working)
    assert any_visible is not None
    assert any_visible.id == folded
    assert any_visible.complete({}).visible is Visible.FOLDED
    with database.reading() as session:
        assert enqueue.choose_calibration(session, working.id, Solver.EXACT, {}, None) is None


def test_the_same_key_is_the_same_run_whatever_was_calibrated_since(
    context: Context, working: ChosenNetwork
) -> None:
    database, images = context.database, knowable(context, working, 20)

    def send(key: str) -> Enqueued:
        with database.reading() as session:
            fitted = enqueue.choose_calibration(session, working.id, Solver.LOCAL, {}, key)
        parameters = Parameters() if fitted is None else fitted.complete({})
        options = RunOptions(key=key, calibrated_by=None if fitted is None else fitted.id)
        return enqueue_run(database, images, working, Solver.LOCAL, parameters, options)

    plain = send("plain")
    first = calibrated(context, working, images, ParameterGrid(lams=(3.0,), reads=10))
    fitted = send("fitted")
    calibrated(context, working, images, ParameterGrid(lams=(5.0,), reads=10))
    assert send("plain") == Enqueued(plain.id, created=False)
    assert send("fitted") == Enqueued(fitted.id, created=False)
    with database.reading() as session:
        assert queries.run(session, plain.id).calibrated_by is None
        assert queries.run(session, fitted.id).calibrated_by == first


def test_a_run_that_failed_fails_its_calibration(context: Context, working: ChosenNetwork) -> None:
    database = context.database
    calibration = enqueue_calibration(database, knowable(context, working, 5), working, Solver.LOCAL, SMALL)
    plan_calibration(context, calibration.id)
    with database.transaction() as session:
        damaged = select(Batch.id).order_by(Batch.id).limit(1).scalar_subquery()
        changed = update(BatchImages).where(BatchImages.batch_id == damaged)
        session.execute(changed.values(images_sha256="0" * 64))
    work_off(context, Message(Task.DISPATCH))
    seen = found(database, calibration.id)
    assert seen.state is CalibrationState.FAILED
    assert "run 1, made for this calibration, is failed" in (seen.error or "")
    assert "damaged" in (seen.error or "")
    assert newest(database, working) is None


def test_it_waits_for_all_of_its_runs_and_needs_no_hint(
    context: Context, working: ChosenNetwork, outbox: Outbox
) -> None:
    database = context.database
    calibration = enqueue_calibration(
        database, knowable(context, working, 5), working, Solver.LOCAL, SMALL
    ).id
    with database.transaction() as session:
        now = database.now(session)
        assert claims.claim(session, Calibration, calibration, now=now, lease_s=60) is None
    work_one(context, outbox, Message(Task.PLAN_CALIBRATION, calibration))
    with database.transaction() as session:
        now = database.now(session)
        assert claims.claim(session, Calibration, calibration, now=now, lease_s=60) is None
    with database.reading() as session:
        batches = list(session.execute(select(Batch.id)).scalars())
        runs = list(session.execute(select(Run.id)).scalars())
    for batch in batches:
        work_one(context, outbox, Message(Task.SAMPLE_BATCH, batch), Message(Task.AGGREGATE_BATCH, batch))
    for run in runs:
        work_one(context, outbox, Message(Task.AGGREGATE_RUN, run))
    reconcile.reconcile(database, context.settings, outbox)
    hints = outbox.take()
    assert hints == [Message(Task.CALIBRATE_NETWORK, calibration)]
    work_off(context, *hints)
    assert found(database, calibration).state is CalibrationState.READY


def work_one(context: Context, outbox: Outbox, *messages: Message) -> None:
    """Do these, and lose every hint that follows from them."""
    for message in messages:
        USE_CASES[message.task](context, message.row)
        outbox.take()


def test_a_silent_worker_loses_its_calibration(timed: Database, clock: Clock, outbox: Outbox) -> None:
    with timed.transaction() as session:
        network = session.execute(insert(Network).values(network_row()).returning(Network.id)).scalar_one()
        row = {
            "network_id": network,
            "solver": "local",
            "graph_id": "",
            "visible": "sampled",
            "name": "x",
            "images": 1,
            "image_digests": bytes(32),
            "created_at": START,
        }
        statement = insert(Calibration).values({**row, "state": CalibrationState.WAITING})
        calibration = session.execute(statement.returning(Calibration.id)).scalar_one()
    context = Context(timed, WorkerSettings(max_attempts=2), outbox)
    for attempt, left_as in ((1, CalibrationState.WAITING), (2, CalibrationState.FAILED)):
        with timed.transaction() as session:
            lease = claims.claim(session, Calibration, calibration, now=clock(), lease_s=60)
        assert lease is not None
        assert lease.attempt == attempt
        clock.forward(61)
        with timed.transaction() as session:
            attempts.release_expired(session, now=clock(), settings=context.settings)
        assert found(timed, calibration).state is left_as


def test_bad_input_leaves_nothing(context: Context, working: ChosenNetwork) -> None:
    good = some_images(6)
    cases: list[tuple[ImageSet, ParameterGrid, type[Exception], str]] = [
        (replace(good, labels=None), SMALL, ImageError, "needs labels"),
        (replace(good, labels=np.full(6, 10)), SMALL, ImageError, "10 classes"),
        (replace(good, images=np.zeros((6, 9, 9), np.uint8)), SMALL, ImageError, "8 x 8"),
        (good, ParameterGrid(reads=0), ParameterError, "reads is 0"),
        (good, ParameterGrid(lams=(1.0, -1.0)), ParameterError, "lam is -1"),
        (good, ParameterGrid(sweeps=(0,)), ParameterError, "sweeps is 0"),
    ]
    for images, grid, error, message in cases:
        with pytest.raises(error, match=message):
            enqueue_calibration(context.database, images, working, Solver.LOCAL, grid)
    for table in (Calibration, CalibrationPlan, TrainingSet, Run, Batch, SampleSet):
        assert rows(context.database, table) == 0


def test_a_penalty_that_only_the_weights_know_is_not_varied(context: Context, working: ChosenNetwork) -> None:
    with context.database.transaction() as session:
        session.execute(update(Network).values(training={"transfer": "paper", "seed": 0, "epochs": None}))
    with context.database.reading() as session:
        own = enqueue.own_lams(session, working.id)
    assert own == {Visible.SAMPLED: 1.0, Visible.FOLDED: None}
    grid = ParameterGrid(visibles=(Visible.FOLDED, Visible.SAMPLED), factors=(1.0, 2.0))
    assert [(each.visible, each.lam) for each in grid.parameters(own)] == [
        (Visible.FOLDED, None),
        (Visible.SAMPLED, 1.0),
        (Visible.SAMPLED, 2.0),
    ]


def test_the_folded_penalty_of_the_weights_is_varied(context: Context, working: ChosenNetwork) -> None:
    with context.database.transaction() as session:
        row = session.get_one(Network, working.id)
        architecture = Architecture.from_dict(row.architecture)
        arrays = weights.decode(row.weights or b"", architecture)
        row.weights = weights.encode({**arrays, FOLDED_LAM: np.array([2.5], np.float32)}, architecture)
    with context.database.reading() as session:
        own = enqueue.own_lams(session, working.id)
    assert own == {Visible.SAMPLED: architecture.training.lam, Visible.FOLDED: 2.5}


def test_on_qubits_settings_differ_from_the_first_in_one_value_unless_crossed() -> None:
    own = dict.fromkeys(Visible, 2.0)
    grid = ParameterGrid.embedded(chain_strengths=(1.4, 1.0, 0.7))
    one = [(each.visible, each.lam, each.chain_strength, each.scale) for each in grid.parameters(own)]
    assert one == [
        (Visible.FOLDED, 2.0, 1.4, 1.0),
        (Visible.FOLDED, 2.0, 1.4, 2.0),
        (Visible.FOLDED, 2.0, 1.0, 1.0),
        (Visible.FOLDED, 2.0, 0.7, 1.0),
        (Visible.FOLDED, 4.0, 1.4, 1.0),
        (Visible.SAMPLED, 2.0, 1.4, 1.0),
    ]
    assert len(replace(grid, crossed=True).parameters(own)) == 2 * 2 * 3 * 2


def test_images_in_both_sets_are_found() -> None:
    some, others = some_images(20, seed=1), some_images(20, seed=2)
    enqueue.refuse_shared_images(some, "others", [others])
    mixed = replace(others, images=np.concatenate([others.images[:5], some.images[[7, 3]]]))
    with pytest.raises(ImageError, match=r"2 of the 20 images.*image 3.*--allow-overlap"):
        enqueue.refuse_shared_images(some, "mixed", [mixed.limit(5), mixed.skip(5)])
    digests = [image_digests.digests(each.images) for each in (mixed, some)]
    assert image_digests.shared_images(*digests) == [5, 6]


def test_images_the_network_was_trained_on_are_counted(context: Context, working: ChosenNetwork) -> None:
    images = some_images(12, seed=5)
    with context.database.transaction() as session:
        assert enqueue.count_trained_on(session, working.id, images) == 0
        known = images.images[[1, 4, 9]]
        labels = arrays.encode_labels(np.arange(3))
        row = {
            "sha256": arrays.training_checksum(3, ImageShape.of(known), known.tobytes(), labels),
            "name": "x",
            "count": 3,
            "shape": "8x8",
            "dtype": "uint8",
            "images": zlib.compress(known.tobytes()),
            "labels": labels,
            "created_at": START,
        }
        held = session.execute(insert(TrainingSet).values(row).returning(TrainingSet.id)).scalar_one()
        session.execute(update(Network).values(training_set_id=held))
    with context.database.reading() as session:
        assert enqueue.count_trained_on(session, working.id, images) == 3
    calibration = found(context.database, calibrated(context, working, images.limit(9)))
    assert (calibration.measured or {})["trained_on"] == 2


def test_calibrating_runs_are_ordinary_runs(context: Context, working: ChosenNetwork) -> None:
    calibration = calibrated(context, working, knowable(context, working, 8))
    with context.database.reading() as session:
        runs = queries.runs(session)
        assert calibration_queries.progress(session, calibration) == (32, 32)
        states = set(session.execute(select(Batch.state)).scalars())
    assert [(run.calibrates, run.state) for run in runs] == [(calibration, RunState.DONE)] * 4
    assert states == {BatchState.SCORED}


def test_the_command_line_enqueues_and_returns(
    context: Context, working: ChosenNetwork, cli: Cli, tmp_path: Path
) -> None:
    images = knowable(context, working)
    np.savez(tmp_path / "known.npz", images=images.images, labels=images.labels)
    options = ("--data", tmp_path / "known.npz", "--reads", 20, "--lam", "1,2", "--detach", "--json")
    with Stack(load(), children=()):  # a broker alone
        queued = json.loads(cli("networks", "calibrate", "digits", *options))
    assert found(context.database, queued["calibration_id"]).state is CalibrationState.WAITING
    work_off(context, Message(Task.PLAN_CALIBRATION, queued["calibration_id"]))
    assert found(context.database, queued["calibration_id"]).state is CalibrationState.READY
