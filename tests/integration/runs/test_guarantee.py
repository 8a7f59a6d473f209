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
from producer.progress.rounds import read_again, rounds_of
from producer.runs import results
from producer.runs.enqueue import enqueue_run
from producer.runs.request import RunOptions, RunRequest
from producer.runs.summary import run_object
from schema.codecs import arrays, nonconformity
from schema.errors import ParameterError
from schema.messages import Message, Task
from schema.parameters import Parameters, Solver, Visible
from schema.settings import load
from schema.tables import Batch, Calibration, Classification, Run
from tests.integration.conftest import some_images, work_off
from worker.compute import scoring
from worker.compute.certainty import class_sets
from worker.context import Context
from worker.network import inference
from worker.network.objective import scores_of_features
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
    return calibrate(context, working, labelled(context, working, IMAGES, seed=3))


def class_energies_by_hand(context: Context, session: Session, run: int, reads: int) -> list[list[float]]:
    """Return the energy of each class of each image of ``run`` by its first reads, one read at a time."""
    exact, lowest = lowest_by_hand(context, session, run, reads)
    return [[each.get(k, own[k]) for k in range(len(own))] for own, each in zip(exact, lowest, strict=True)]


def lowest_by_hand(
    context: Context, session: Session, run: int, reads: int
) -> tuple[list[list[float]], list[dict[int, float]]]:
    """Return the exact energies of classes of each image of ``run``, and those that its first reads found.

    Images of later rounds follow those of the first.
    """
    exact_energies, found = [], []
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
                for read in range(min(reads, len(bits))):
                    if bits[read].sum() == 1:
                        k, energy = int(bits[read].argmax()), float(decoded.energies[image, read])
                        energies[k] = min(energy, energies.get(k, np.inf))
                exact_energies.append(minima[part][image].tolist())
                found.append(energies)
    return exact_energies, found


def test_a_calibration_stores_how_its_right_classes_conform(context: Context, calibration: int) -> None:
    with context.database.reading() as session:
        row = session.get_one(Calibration, calibration)
        stored = nonconformity.decode(row.nonconformity or b"")
        run = session.execute(select(Run.id).where(Run.calibrates == calibration)).scalar_one()
        assert {10, 20} <= stored.outcomes.keys()
        assert stored.has(row.parameters or {})
        for reads in (10, 20):
            energies = class_energies_by_hand(context, session, run, reads)
            expected = [own[k] - min(own) for own, k in zip(energies, stored.labels.tolist(), strict=True)]
            assert stored.outcomes[reads].scores.tolist() == pytest.approx(expected)
    assert len(stored.labels) == IMAGES
    assert 0 < np.count_nonzero(stored.outcomes[10].scores) < IMAGES


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
        energies = np.array(
            class_energies_by_hand(context, session, run["run_id"], run["parameters"]["reads"])
        )
    numbers = class_sets.random_numbers(5, np.arange(50))
    scores = known.outcomes[run["parameters"]["reads"]].scores
    n = len(scores)
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


def plausible(context: Context, network: ChosenNetwork, count: int, seed: int) -> ImageSet:
    """Return images with labels drawn from what the network thinks of them: often the second best class."""
    images = some_images(count, seed=seed)
    with context.database.reading() as session:
        held = context.networks.get(session, network.id)
    scores = scores_of_features(held.module, held.features(images.images), held.transfer)
    noise = np.random.default_rng(seed).gumbel(size=scores.shape)
    spread = np.sort(scores, axis=1)[:, -1] - np.sort(scores, axis=1)[:, -3]
    return replace(images, labels=(scores + 0.4 * np.median(spread) * noise).argmax(axis=1).astype(np.int16))


def calibrate(context: Context, network: ChosenNetwork, images: ImageSet, grid: ParameterGrid = GRID) -> int:
    made = enqueue_calibration(context.database, images, network, Solver.LOCAL, grid).id
    work_off(context, Message(Task.PLAN_CALIBRATION, made))
    return made


def members_of(session: Session, run: int) -> list[int]:
    """Return the images of the second round of ``run``."""
    query = select(Batch.members, Batch.count).where(Batch.run_id == run, Batch.round == 2)
    found: list[int] = []
    for data, count in session.execute(query.order_by(Batch.ordinal)):
        found += arrays.decode_members(data, count).tolist()
    return found


@pytest.mark.parametrize("share", [1.0, 0.1], ids=["all", "share"])
def test_images_with_sets_of_several_classes_are_read_again(
    context: Context, working: ChosenNetwork, share: float
) -> None:
    # An annealer that hardly anneals: reads make sets smaller.
    grid = ParameterGrid(reads=60, factors=(1.0,), sweeps=(3,))
    calibration = calibrate(context, working, plausible(context, working, IMAGES, seed=3), grid)
    images = plausible(context, working, 50, seed=8)
    rounds = [[50, 0.0, share]]
    asked = {"confidence": 0.8, "reads": 10, "rounds": rounds}
    run = classify(context, working, images, calibration, **asked)
    with context.database.reading() as session:
        exported = list(results.rows(session, run["run_id"], tuple("0123456789")))
        known = nonconformity.decode(session.get_one(Calibration, calibration).nonconformity or b"")
        exact, lowest = lowest_by_hand(context, session, run["run_id"], 60)
        again = members_of(session, run["run_id"])
        (note,) = read_again(session, run["run_id"], rounds_of(session, run["run_id"])).notes
        query = select(Classification.image, Classification.earlier_predicted)
        earlier = {
            row.image: row.earlier_predicted
            for row in session.execute(query.where(Classification.run_id == run["run_id"]))
        }

    def energies_of(own: dict[int, float], image: int) -> np.ndarray:
        return np.array([own.get(k, exact[image][k]) for k in range(10)])

    first = np.array([energies_of(lowest[image], image) for image in range(50)])
    gaps = np.sort(first, axis=1)[:, 1] - first.min(axis=1)
    # Of 60 images the ceil(61 x 0.8) = 49th smallest decides.
    limit = np.sort(known.outcomes[10].scores)[48]
    several = np.flatnonzero(gaps <= limit)
    assert 5 < len(several) < 50
    if share == 1.0:
        assert set(several) <= set(again)
    else:
        assert len(again) == 5
    # Images whose class is not that of the lowest energy come first: their gaps are below 0.
    assert set(again) <= set(several) | {k for k in again if earlier[k] != first[k].argmin()}
    assert "or a set of several classes (a gap up to" in note
    numbers = class_sets.random_numbers(5, np.arange(50))
    left = [each["energy_gap"] for image, each in enumerate(exported) if image not in again]
    own = known.outcomes[10]
    scores = np.where(own.gaps < min(left), known.outcomes[60].scores, own.scores)
    for image, stored in enumerate(exported):
        energies = dict(lowest[image])
        if image in again:
            for k, energy in lowest[50 + again.index(image)].items():
                energies[k] = min(energy, energies.get(k, np.inf))
        each, expected = energies_of(energies, image), []
        for k, energy in enumerate(each):
            above = int((scores > energy - each.min() + 1e-9).sum())
            equal = int((abs(scores - energy + each.min()) <= 1e-9).sum())
            if above + numbers[image] * equal + 1 > 0.2 * 61 + 1e-9:
                expected.append(str(k))
        assert json.loads(stored["class_set"]) == (expected or [stored["predicted_class"]])
        assert stored["set_size"] == max(len(expected), 1)


def test_no_reads_are_spent_on_sets_that_more_reads_did_not_make_smaller_when_calibrated(
    context: Context, working: ChosenNetwork, calibration: int
) -> None:
    asked = {"confidence": 0.8, "reads": 10, "rounds": [[10, 0.0, 1.0]]}
    run = classify(context, working, labelled(context, working, 50, seed=8), calibration, **asked)
    assert run["statistics"]["guarantee"]["mean_set_size"] > 1.5
    with context.database.reading() as session:
        (note,) = read_again(session, run["run_id"], rounds_of(session, run["run_id"])).notes
        assert len(members_of(session, run["run_id"])) < 10
    assert "none are read for their sets: of the images of calibration 1," in note
    assert note.endswith("% after 10 more")


def test_no_reads_are_spent_on_sets_that_no_reads_change(context: Context, working: ChosenNetwork) -> None:
    grid = replace(GRID, visibles=(Visible.FOLDED,))
    made = calibrate(context, working, labelled(context, working, IMAGES, seed=3), grid)
    images = labelled(context, working, 50, seed=8)
    asked = {"confidence": 0.8, "reads": 10, "rounds": [[10, 0.0, 1.0]]}
    run = classify(context, working, images, made, **asked)
    assert run["statistics"]["guarantee"]["mean_set_size"] > 1
    with context.database.reading() as session:
        (note,) = read_again(session, run["run_id"], rounds_of(session, run["run_id"])).notes
        again = members_of(session, run["run_id"])
    sizes = run["statistics"]["guarantee"]["set_sizes"]
    assert len(again) < 10 < 50 - sizes.get("1", 0)
    assert note.endswith("none are read for their sets: the energy of a class is the same in all reads, so "
                         "that none change a set")  # fmt: skip


@pytest.mark.parametrize("budget_us", [None, 5_000_000])
def test_automatic_reads_have_a_round_for_sets(
    context: Context, working: ChosenNetwork, calibration: int, budget_us: int | None
) -> None:
    app = AppContext(load(), context.database)
    asked = {"reads": "auto", "confidence": 0.8}
    request = RunRequest(network=f"{working.name}@{working.version}", asked=asked, budget_us=budget_us)
    run, _ = jobs.submit(app, request, labelled(context, working, 50, seed=8))
    with context.database.reading() as session:
        made = run_object(session, run.id)
    rounds = made["parameters"].get("rounds")
    if budget_us is None:  # 3 % more than the cheapest number of reads pays no round
        assert rounds is None
        assert "a budget (--budget) pays for" in made["reads_reason"]
    else:
        assert rounds == [[20 - made["parameters"]["reads"], 0.0, 1.0]]
        assert "images with sets of several classes, until the budget ends" in made["reads_reason"]
    work_off(context, Message(Task.DISPATCH))
    with context.database.reading() as session:
        assert run_object(session, run.id)["statistics"]["guarantee"]["mean_set_size"] >= 1


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
        ({"confidence": 0.8, "reads": 17}, r"reads and rounds \[17\], calibrated 5, 10, .*20 reads"),
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
