"""Sets of classes from calibration to statistics, with the local annealer."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from producer import jobs
from producer.calibration.enqueue import enqueue_calibration
from producer.calibration.grid import ParameterGrid
from producer.context import AppContext
from producer.images.imageset import ImageSet
from producer.networks.chosen import ChosenNetwork
from producer.runs import results
from producer.runs.enqueue import enqueue_run
from producer.runs.request import RunOptions, RunRequest
from producer.runs.summary import run_object
from schema.codecs import nonconformity
from schema.errors import ParameterError
from schema.messages import Message, Task
from schema.parameters import Parameters, Solver
from schema.settings import load
from schema.tables import Batch, Calibration, Run
from tests.integration.conftest import some_images, work_off
from worker.compute import scoring
from worker.compute.certainty import class_sets
from worker.context import Context
from worker.network import inference
from worker.qubo.class_states import class_minima
from worker.records import batches

IMAGES = 60
GRID = ParameterGrid(reads=20, factors=(1.0,))


def labelled(context: Context, network: ChosenNetwork, count: int, seed: int) -> ImageSet:
    """Return images with the labels that the network gives them, but for each fourth."""
    images = some_images(count, seed=seed)
    with context.database.reading() as session:
        held = context.networks.get(session, network.id)
    labels = inference.classify(held.architecture, held.weights, images.images, "energy")
    labels[::4] = (labels[::4] + 1) % 10
    return replace(images, labels=labels)


@pytest.fixture
def calibration(context: Context, working: ChosenNetwork) -> int:
    images = labelled(context, working, IMAGES, seed=3)
    made = enqueue_calibration(context.database, images, working, Solver.LOCAL, GRID).id
    work_off(context, Message(Task.PLAN_CALIBRATION, made))
    return made


def class_energies_by_hand(context: Context, session: Session, run: int, reads: int) -> list[list[float]]:
    """Return the energy of each class of each image of ``run`` by its first reads, one read at a time."""
    found = []
    for batch in session.execute(
        select(Batch.id).where(Batch.run_id == run).order_by(Batch.ordinal)
    ).scalars():
        batch_input = batches.load(session, batch)
        network = context.networks.get(session, batch_input.network)
        terms = scoring.linear_terms(network, batch_input)
        minima = class_minima(terms.model, terms.take(slice(None)))
        assert minima is not None
        for part, decoded in scoring.reads_of_images(
            terms, batch_input, batches.load_samples(session, batch)
        ):
            for image, bits in enumerate(decoded.class_bits):
                energies = {}
                for read in range(reads):
                    if bits[read].sum() == 1:
                        k, energy = int(bits[read].argmax()), float(decoded.energies[image, read])
                        energies[k] = min(energy, energies.get(k, np.inf))
                exact = minima[part][image]
                found.append([energies.get(k, exact[k]) for k in range(len(exact))])
    return found


def test_a_calibration_stores_how_its_right_classes_conform(context: Context, calibration: int) -> None:
    with context.database.reading() as session:
        row = session.get_one(Calibration, calibration)
        stored = nonconformity.decode(row.nonconformity or b"")
        run = session.execute(select(Run.id).where(Run.calibrates == calibration)).scalar_one()
        assert {"[10]", "[20]"} <= stored.plans.keys()
        assert nonconformity.plan_name(row.parameters or {}) in stored.plans
        for reads in (10, 20):
            energies = class_energies_by_hand(context, session, run, reads)
            expected = [own[k] - min(own) for own, k in zip(energies, stored.labels.tolist(), strict=True)]
            assert stored.plans[f"[{reads}]"].tolist() == pytest.approx(expected)
    assert len(stored.labels) == IMAGES
    assert 0 < np.count_nonzero(stored.plans["[10]"]) < IMAGES


def classify(
    context: Context, network: ChosenNetwork, images: ImageSet, calibration: int, **asked: Any
) -> dict[str, Any]:
    """Return the run, finished, of ``images`` with the settings of ``calibration`` and those ``asked``."""
    with context.database.reading() as session:
        fitted = session.get_one(Calibration, calibration).parameters or {}
    parameters = Parameters.from_dict({**fitted, "seed": 5, **asked})
    options = RunOptions(batch_size=20, calibrated_by=calibration)
    run = enqueue_run(context.database, images, network, Solver.LOCAL, parameters, options).id
    work_off(context, Message(Task.DISPATCH))
    with context.database.reading() as session:
        return run_object(session, run)


def test_each_image_has_a_set_and_the_run_says_how_often_it_holds_the_label(
    context: Context, working: ChosenNetwork, calibration: int
) -> None:
    images = labelled(context, working, 50, seed=8)
    run = classify(context, working, images, calibration, confidence=0.8)
    assert run["state"] == "done"
    with context.database.reading() as session:
        exported = list(results.rows(session, run["run_id"], tuple("0123456789")))
        row = session.get_one(Calibration, calibration)
        known = nonconformity.decode(row.nonconformity or b"")
        plan = nonconformity.plan_name(row.parameters or {})
        energies = np.array(
            class_energies_by_hand(context, session, run["run_id"], run["parameters"]["reads"])
        )
    numbers = class_sets.random_numbers(5, np.arange(50))
    scores, n = known.plans[plan], len(known.plans[plan])
    for image, stored in enumerate(exported):
        expected = []
        for k, energy in enumerate(energies[image]):
            above = int((scores > energy - energies[image].min() + 1e-9).sum())
            equal = int((abs(scores - energy + energies[image].min()) <= 1e-9).sum())
            if above + numbers[image] * equal + 1 > 0.2 * (n + 1) + 1e-9:
                expected.append(str(k))
        assert json.loads(stored["class_set"]) == (expected or [stored["predicted_class"]])
        assert stored["set_size"] == max(len(expected), 1)
    guarantee = run["statistics"]["guarantee"]
    held = [row["true_class"] in json.loads(row["class_set"]) for row in exported]
    sizes = [row["set_size"] for row in exported]
    assert (guarantee["covered"], guarantee["labelled"]) == (sum(held), 50)
    assert guarantee["coverage"] == pytest.approx(np.mean(held))
    assert guarantee["mean_set_size"] == pytest.approx(np.mean(sizes))
    assert guarantee["set_sizes"] == {str(size): sizes.count(size) for size in sorted(set(sizes))}
    assert (guarantee["calibration"], guarantee["images"], guarantee["voided"]) == (calibration, IMAGES, None)
    low, high = guarantee["coverage_interval"]
    assert 0 < low < guarantee["coverage"] < high <= 1


def test_what_speaks_against_the_guarantee_is_said(
    context: Context, working: ChosenNetwork, calibration: int
) -> None:
    images = labelled(context, working, IMAGES, seed=3)
    with context.database.transaction() as session:
        row = session.get_one(Calibration, calibration)
        row.finished_at = context.database.now(session) - timedelta(days=31)
    voided = classify(context, working, images, calibration, confidence=0.9)["statistics"]["guarantee"][
        "voided"
    ]
    assert voided == (
        f"the calibration was 31.0 days old, more than 30; {IMAGES} images of the run were calibrated with"
    )


def test_scoring_again_changes_the_confidence(
    context: Context, working: ChosenNetwork, calibration: int
) -> None:
    run = classify(context, working, labelled(context, working, 50, seed=8), calibration)
    assert run["statistics"]["guarantee"] is None
    app = AppContext(load(), context.database)
    sizes = []
    for changes in ({"confidence": 0.5}, {"confidence": 0.95}):
        again = jobs.submit_rescoring(app, run["run_id"], changes).id
        with context.database.reading() as session:
            batches_ = list(session.execute(select(Batch.id).where(Batch.run_id == again)).scalars())
        work_off(context, *(Message(Task.AGGREGATE_BATCH, batch) for batch in batches_))
        with context.database.reading() as session:
            sizes.append(run_object(session, again)["statistics"]["guarantee"]["mean_set_size"])
    assert sizes[0] < sizes[1]
    with pytest.raises(ParameterError, match=r"needs 99 validation images or more, and .* has 60"):
        jobs.submit_rescoring(app, run["run_id"], {"confidence": 0.99})


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"confidence": 0.99}, r"confidence 0.99 needs 99 validation images or more, and .* has 60"),
        ({"confidence": 0.8, "by_class": True}, r"needs 4 validation images of class \d or more"),
        ({"confidence": 0.8, "lam": 7.5}, r"other ones: lam 7.5, calibrated [\d.]+: leave these out"),
        ({"confidence": 0.8, "reads": 17}, r"reads and rounds \[17\], calibrated .*\[10\], \[20\]"),
        ({"confidence": 0.8, "noise": 0.1, "sweeps": 9}, r"sweeps 9, calibrated default; noise 0.1, calib"),
    ],
)
def test_a_confidence_that_the_calibration_cannot_give_is_refused_at_once(
    context: Context, working: ChosenNetwork, calibration: int, asked: dict[str, Any], why: str
) -> None:
    images = labelled(context, working, 5, seed=8)
    app = AppContext(load(), context.database)
    request = RunRequest(network=f"{working.name}@{working.version}", asked=asked)
    with pytest.raises(ParameterError, match=why):
        jobs.submit(app, request, images)
    with pytest.raises(ParameterError, match=r"needs a calibration of .*leave out --no-calibration"):
        jobs.submit(app, replace(request, calibrated=False), images)
    with context.database.reading() as session:
        assert session.execute(select(Run.id).where(Run.calibrates.is_(None))).first() is None
