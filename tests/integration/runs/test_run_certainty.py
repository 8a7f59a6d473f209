"""What is said about certainty agrees with the rows: order, calibration error, missing images, exports."""

from __future__ import annotations

import io
import re
from base64 import b64decode
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from producer.dashboard.report import run_facts, run_report
from producer.networks.chosen import ChosenNetwork
from producer.reports import export
from producer.runs import queries, results
from producer.runs.enqueue import RunOptions, enqueue_run
from producer.runs.summary import accuracy_note, run_object
from schema.codecs import arrays
from schema.messages import Message, Task
from schema.parameters import Parameters, Solver
from schema.tables import Classification
from tests.integration.conftest import some_images, work_off
from worker.context import Context
from worker.network.objective import scores_of_features
from worker.network.temperature import probabilities

IMAGES = 25


@pytest.fixture
def run(context: Context, working: ChosenNetwork) -> int:
    return classify(context, working, labelled=True)


def classify(context: Context, network: ChosenNetwork, *, labelled: bool) -> int:
    images = some_images(IMAGES, labelled=labelled)
    queued = enqueue_run(
        context.database, images, network, Solver.LOCAL, Parameters(reads=20), RunOptions(batch_size=10)
    )
    work_off(context, Message(Task.DISPATCH))
    return queued.id


def rows(session: Session, run: int) -> list[Classification]:
    query = select(Classification).where(Classification.run_id == run).order_by(Classification.image)
    return list(session.execute(query).scalars())


def test_every_decided_image_has_the_probability_of_its_network(
    context: Context, working: ChosenNetwork, run: int
) -> None:
    with context.database.reading() as session:
        network = context.networks.get(session, working.id)
        stored = rows(session, run)
        found = [(row.predicted, row.probability, row.energy_gap) for row in stored]
        shares = arrays.decode_scores([row.probabilities or b"" for row in stored], 10)
    predicted = np.array([-1 if k is None else k for k, _, _ in found], dtype=np.int16)
    features = network.features(some_images(IMAGES).images)
    scores = scores_of_features(network.module, features, network.transfer)
    expected = probabilities(scores, 1.0)
    np.testing.assert_allclose(shares, expected, atol=1e-5)
    winners = expected[np.arange(IMAGES), predicted][predicted >= 0]
    assert [p for _, p, _ in found if p is not None] == pytest.approx(winners.tolist())
    assert all((gap is None) == (k is None) for k, _, gap in found)


def test_wrong_images_come_first_then_the_least_probable(context: Context, run: int) -> None:
    with context.database.transaction() as session:
        # Margins in the opposite order: they must not matter.
        for row in rows(session, run):
            row.margin = 1.0 - (row.probability or 0.0) / 2.0
            row.label = row.predicted if row.image % 2 else row.label
    with context.database.reading() as session:
        found = [image.result for image in run_facts.read(session, run).least_certain]
    decided = [
        (each.predicted == each.label, each.probability) for each in found if each.predicted is not None
    ]
    assert decided == sorted(decided)
    assert len({right for right, _ in decided}) == 2


def test_runs_of_earlier_versions_are_ranked_by_margin_and_say_so(context: Context, run: int) -> None:
    with context.database.transaction() as session:
        session.execute(update(Classification).values(probability=None, energy_gap=None, label=None))
        for row in rows(session, run):
            row.margin = (row.image * 7 % IMAGES) / IMAGES
    with context.database.reading() as session:
        found = [image.result for image in run_facts.read(session, run).least_certain]
        text = run_report.markdown(session, run)
    margins = [each.margin for each in found if each.predicted is not None]
    assert margins == sorted(margins)
    assert f"By margin: an earlier version scored this run; `annealq runs rescore {run}`" in text
    assert "margins are 1" not in text


def test_margins_that_tell_nothing_are_named(context: Context, run: int) -> None:
    with context.database.transaction() as session:
        session.execute(update(Classification).values(margin=1.0))
    with context.database.reading() as session:
        assert f"{IMAGES} of {IMAGES} margins are 1: the chosen reads agree" in run_report.markdown(
            session, run
        )


def test_the_calibration_error_is_that_of_the_rows(context: Context, run: int) -> None:
    with context.database.reading() as session:
        statistics = run_object(session, run)["statistics"]
        stored = rows(session, run)
        pairs = [(row.probability, row.predicted == row.label) for row in stored]
        labels = [row.label for row in stored]
        exported = list(results.rows(session, run, tuple("0123456789")))
    known = [(p, right) for p, right in pairs if p is not None]
    error = 0.0
    for k in range(15):
        inside = [pair for pair in known if k / 15 <= pair[0] < (k + 1) / 15 or (k == 14 and pair[0] == 1.0)]
        error += abs(sum(right - p for p, right in inside)) / len(known)
    assert statistics["calibration_error"] == pytest.approx(error)
    assert sum(each["images"] for each in statistics["reliability"]) == len(known)
    shares = np.array([[row[f"probability_{k}"] for k in range(10)] for row in exported])
    one_hot = np.eye(10)[labels]
    likelihood = -np.log(shares[one_hot == 1]).mean()
    assert statistics["negative_log_likelihood"] == pytest.approx(likelihood)
    assert statistics["brier_score"] == pytest.approx(((shares - one_hot) ** 2).sum(axis=1).mean())
    with context.database.reading() as session:
        text = run_report.markdown(session, run)
    assert f"negative log-likelihood {likelihood:.4f}" in text


def test_missing_images_are_part_of_the_accuracy(context: Context, run: int) -> None:
    with context.database.transaction() as session:
        session.execute(delete(Classification).where(Classification.image == 3))
    with context.database.reading() as session:
        note = accuracy_note(queries.run(session, run), queries.counts(session, run))
        assert run_object(session, run)["missing"] == 1
    assert note.endswith("; 1 image without a result")


def test_images_are_drawn_in_the_range_of_their_network(context: Context, run: int) -> None:
    with context.database.reading() as session:
        page = run_report.html(session, run)
        facts = run_facts.read(session, run).least_certain
    drawn = [
        np.array(Picture.open(io.BytesIO(b64decode(data))))
        for data in re.findall(r'<img src="data:image/png;base64,([^"]+)"', page)
    ]
    for picture, image in zip(drawn, facts, strict=True):
        assert picture.max() == round(int(image.pixels.max()) * 255 / 16)


def test_parquet_of_any_run_has_one_schema(
    context: Context, working: ChosenNetwork, run: int, tmp_path: Path
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs annealq[parquet]")
    other = classify(context, working, labelled=False)
    with context.database.transaction() as session:
        on_chip = update(Classification).where(Classification.run_id == other)
        session.execute(on_chip.values(chain_break_fraction=0.0, probability=None))
    schemas = []
    with context.database.reading() as session:
        names = queries.classes(session, run)
        for number in (run, other):
            path = tmp_path / f"{number}.parquet"
            export.write(results.rows(session, number, names), results.columns(names), path, "parquet")
            schemas.append(parquet.read_schema(path))
        export.write([], results.columns(names), tmp_path / "none.parquet", "parquet")
    schemas.append(parquet.read_schema(tmp_path / "none.parquet"))
    assert schemas[0] == schemas[1] == schemas[2]
    assert {"probability", "energy_gap"} <= set(schemas[0].names)
    assert str(schemas[0].field("label").type) == "int64"


def test_unbalanced_classes_have_figures_of_their_own(
    context: Context, working: ChosenNetwork, run: int
) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    labels = np.where(np.arange(60) < 50, 1, np.arange(60) % 3)
    images = replace(some_images(60), labels=labels)
    queued = enqueue_run(context.database, images, working, Solver.LOCAL, Parameters(reads=20), RunOptions())
    work_off(context, Message(Task.DISPATCH))
    with context.database.reading() as session:
        assert run_object(session, run)["statistics"]["class_balance"] is None
        assert "nbalanced" not in run_report.markdown(session, run)
        found = run_object(session, queued.id)["statistics"]["class_balance"]
        stored = rows(session, queued.id)
        text = run_report.markdown(session, queued.id)
        predicted = [-1 if row.predicted is None else row.predicted for row in stored]
        shares = arrays.decode_scores([row.probabilities or b"" for row in stored], 10)
    right = np.array(predicted) == labels
    balanced = np.mean([right[labels == k].mean() for k in range(3)])
    area = np.mean([metrics.roc_auc_score(labels == k, shares[:, k]) for k in range(3)])
    assert found == {
        "balanced_accuracy": pytest.approx(balanced),
        "auc": pytest.approx(area),
        "auc_images": 60,
    }
    assert f"nbalanced classes: balanced accuracy {balanced:.2%}, AUC {area:.4f} of 60 images" in text
