"""`runs export` writes the images that are wanted, from a database and from files that batches refer to."""

from __future__ import annotations

import csv
import json
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from producer.enqueued import Enqueued
from producer.images.imageset import ImageSet
from producer.images.source import read_images
from producer.intake.find import source_for
from producer.intake.open import open_intake
from producer.intake.read_on import read_on
from producer.networks.chosen import ChosenNetwork
from producer.runs.enqueue import RunOptions, enqueue_run
from producer.runs.request import ClassificationRequest
from schema.errors import NotFound, ParameterError
from schema.messages import Message, Task
from schema.parameters import Parameters, Solver
from schema.settings import load
from schema.settings.folders import allow_folders
from tests.integration.conftest import Cli, some_images, work_off
from worker.context import Context

IMAGES = 25


def finished(context: Context, network: ChosenNetwork, images: ImageSet) -> Enqueued:
    options = RunOptions(batch_size=10)
    queued = enqueue_run(context.database, images, network, Solver.LOCAL, Parameters(reads=8), options)
    work_off(context, Message(Task.DISPATCH))
    return queued


@pytest.fixture
def run(context: Context, working: ChosenNetwork) -> int:
    """Finish a run of 25 images in 3 batches; a network with random weights gets most of them wrong."""
    return finished(context, working, some_images(IMAGES)).id


def table(cli: Cli, run: int, *options: object) -> list[dict[str, str]]:
    return list(csv.DictReader(StringIO(cli("runs", "export", run, *options))))


def is_wrong(row: dict[str, str]) -> bool:
    return row["predicted"] != row["label"]


def samples(folder: Path) -> list[dict[str, Any]]:
    return json.loads((folder / "samples.json").read_text())["samples"]


def test_options_choose_images_alike_in_tables_and_data_sets(cli: Cli, run: int, tmp_path: Path) -> None:
    rows = table(cli, run)
    assert len(rows) == IMAGES
    wrong = [int(row["image"]) for row in rows if is_wrong(row)]
    assert 0 < len(wrong) < IMAGES
    assert [int(row["image"]) for row in table(cli, run, "--wrong")] == wrong
    right = [int(row["image"]) for row in rows if not is_wrong(row)]
    assert [int(row["image"]) for row in table(cli, run, "--right")] == right
    cli("runs", "export", run, "--wrong", "--format", "fiftyone", "-o", tmp_path / "wrong")
    assert [sample["index"] for sample in samples(tmp_path / "wrong")] == wrong
    cli("runs", "export", run, "--right", "-f", "labelstudio", "-o", tmp_path / "right.json")
    tasks = json.loads((tmp_path / "right.json").read_text())
    assert [task["data"]["index"] for task in tasks] == right
    label = rows[0]["true_class"]
    expected = [int(row["image"]) for row in rows if row["true_class"] == label]
    assert [int(row["image"]) for row in table(cli, run, "--label", label)] == expected
    smaller = [int(row["image"]) for row in rows if float(row["margin"]) < 0.7]
    assert [int(row["image"]) for row in table(cli, run, "--margin-below", "0.7")] == smaller


def test_parquet_with_images_is_classified_again(cli: Cli, run: int, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="needs annealq[parquet]")
    cli("runs", "export", run, "-f", "huggingface", "-o", tmp_path / "set")
    found, drawn = read_images(tmp_path / "set"), some_images(IMAGES)
    np.testing.assert_array_equal(found.images, drawn.images)
    assert found.labels is not None
    np.testing.assert_array_equal(found.labels, drawn.labels)


def test_images_by_reference_are_read_from_their_files(
    context: Context, working: ChosenNetwork, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "allowed"
    folder.mkdir()
    monkeypatch.setenv("ANNEALQ_REFERENCE_FOLDERS", str(folder))
    load()
    np.save(folder / "images.npy", some_images(IMAGES).images)
    try:
        source = source_for(ClassificationRequest(data=str(folder / "images.npy"), by_reference=True))
        assert source is not None
        options = RunOptions(batch_size=10)
        parameters = Parameters(reads=5)
        run = open_intake(
            context.database, source, working, Solver.LOCAL, parameters, options, by_reference=True
        ).id
        read_on(context.database, run, source)
        work_off(context, Message(Task.DISPATCH))
        cli("runs", "export", run, "-f", "huggingface", "-o", tmp_path / "a.parquet")
        found = read_images(tmp_path / "a.parquet")
        np.testing.assert_array_equal(found.images, some_images(IMAGES).images)
        assert found.labels is None
    finally:
        allow_folders(())


def test_names_of_files_are_those_of_their_images(
    context: Context, working: ChosenNetwork, cli: Cli, tmp_path: Path
) -> None:
    drawn = some_images(IMAGES)
    names = [f"{number}.png" for number in range(IMAGES)]
    run = finished(context, working, ImageSet("named", drawn.images, drawn.labels, None, names)).id
    cli("runs", "export", run, "-f", "fiftyone", "-o", tmp_path / "set")
    assert [sample["source"] for sample in samples(tmp_path / "set")] == names


def test_what_cannot_be_written_is_refused_before_anything_is(cli: Cli, run: int, tmp_path: Path) -> None:
    target = tmp_path / "set"
    for options, problem in (
        (("-f", "fiftyone"), "name the folder or file to write by --output"),
        (("-f", "coco", "-o", target), "unknown format 'coco'; choose one of: csv, json, parquet, fiftyone"),
        (("-f", "fiftyone", "-o", target, "--label", "zebra"), "--label zebra is unknown: choose one of: 0"),
        (("-f", "fiftyone", "-o", target, "--status", "x"), "--status x is unknown"),
        (("--images", tmp_path / "a.npz", "--wrong"), "--images writes all images"),
    ):
        with pytest.raises(ParameterError, match=problem):
            cli("runs", "export", run, *options)
    with pytest.raises(NotFound, match=f"run {run} has no such images"):
        cli("runs", "export", run, "-f", "fiftyone", "-o", target, "--margin-below", "0")
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith("annealq.db")] == []


def test_a_run_without_results_says_so(
    context: Context, working: ChosenNetwork, tmp_path: Path, cli: Cli
) -> None:
    options, images = RunOptions(batch_size=10), some_images(IMAGES)
    run = enqueue_run(context.database, images, working, Solver.LOCAL, Parameters(reads=8), options).id
    with pytest.raises(NotFound, match="no classified images yet"):
        cli("runs", "export", run, "-f", "labelstudio", "-o", tmp_path / "tasks.json")
