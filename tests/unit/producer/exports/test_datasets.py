"""Data sets for other tools are read back unchanged, in the documented forms, or nothing is written."""

from __future__ import annotations

import json
import tracemalloc
import zipfile
from base64 import b64decode
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from producer.exports import hugging_face
from producer.exports.exported_run import ExportedRun
from producer.exports.formats import DatasetFormat, write_dataset
from producer.images.source import read_images
from schema.errors import Corrupt, ParameterError
from schema.shapes import ImageArray, ImageShape

CLASSES = ("cat", 'dog "Rex" & <friends>', "7")
GREY, COLOUR, VECTOR = (5, 4), (6, 5, 3), (11,)


def values(shape: tuple[int, ...], count: int = 7) -> ImageArray:
    rng = np.random.default_rng(3)
    if len(shape) == 1:
        return rng.normal(size=(count, *shape)).astype(np.float32)
    return rng.integers(0, 17, (count, *shape)).astype(np.uint8)


def row(index: int, *, labelled: bool = True) -> dict[str, Any]:
    """What is said of an image: every third one is undecided, the second of three is wrong."""
    label, predicted = index % 3, {0: index % 3, 1: (index + 1) % 3, 2: None}[index % 3]
    return {
        "image": index,
        "source": f"{CLASSES[label][:3]}/{index}.png",
        "label": label if labelled else None,
        "true_class": CLASSES[label] if labelled else None,
        "predicted": predicted,
        "predicted_class": None if predicted is None else CLASSES[predicted],
        "status": "undecided" if predicted is None else "decided",
        "provisional": False,
        "reads": 20,
        "probability": None if predicted is None else 0.25 + index / 100,
        "energy_gap": None,
        "class_set": [CLASSES[0], CLASSES[2]],
        "set_size": 2,
        "guarantee_void": None,
        "margin": 0.5,
        "one_hot_fraction": 1.0,
        "chain_break_fraction": None,
        "lowest_energy": -3.5,
        "qpu": None,
        "graph_id": None,
        "scores": [0.5, 0.25, 0.25],
        "probabilities": None if index == 0 else [0.5, 0.25, 0.25],
    }


def exported(images: ImageArray, *, labelled: bool = True, breaks_at: int | None = None) -> ExportedRun:
    def items() -> Iterator[Any]:
        for index, image in enumerate(images):
            if index == breaks_at:
                raise Corrupt("its images are gone")
            yield row(index, labelled=labelled), image

    about = {"run_id": 4, "network": "pets@1", "parameters": {"reads": 20}}
    return ExportedRun(4, "pets@1", CLASSES, ImageShape.of(images), 16, about, items())


def decode(data: bytes) -> np.ndarray:
    with Image.open(BytesIO(data)) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture)


def brightened(pixels: np.ndarray) -> np.ndarray:
    """Pixels of 0 to 16 as 0 to 255, by exact arithmetic: 255 k / 16 is never halfway for k below 16."""
    return ((pixels.astype(int) * 255 * 2 + 16) // 32).astype(np.uint8)


@pytest.mark.parametrize("shape", [GREY, COLOUR])
@pytest.mark.parametrize("name", ["set", "set.zip"])
def test_fiftyone_has_pictures_true_and_predicted_classes(
    tmp_path: Path, shape: tuple[int, ...], name: str
) -> None:
    images, path = values(shape), tmp_path / name
    hint = write_dataset(exported(images), DatasetFormat.FIFTYONE, path)
    assert str(path) in hint
    assert ("from_archive" in hint) == name.endswith(".zip")
    if name.endswith(".zip"):
        with zipfile.ZipFile(path) as archive:
            assert archive.testzip() is None
            archive.extractall(tmp_path / "out")  # our own archive
        path = tmp_path / "out"
    # Without a version its importer infers the fields; with one it would need the schema of that version.
    about = json.loads((path / "metadata.json").read_text())
    assert "version" not in about
    assert about["info"]["classes"] == list(CLASSES)
    assert about["info"]["annealq"]["run_id"] == 4
    samples = json.loads((path / "samples.json").read_text())["samples"]
    assert len(samples) == len(list((path / "data").iterdir())) == 7
    for index, sample in enumerate(samples):
        of = row(index)
        assert (decode((path / sample["filepath"]).read_bytes()) == brightened(images[index])).all()
        assert sample["ground_truth"] == {"_cls": "Classification", "label": of["true_class"]}
        assert sample["tags"] == ["right" if of["predicted"] == of["label"] else "wrong"]
        predicted = of["predicted_class"] and {
            "_cls": "Classification",
            "label": of["predicted_class"],
            "confidence": of["probability"],
        }
        assert sample.get("predictions") == predicted
        assert (sample["margin"], sample["class_set"], sample["index"]) == (0.5, [CLASSES[0], "7"], index)
        assert None not in sample.values()


@pytest.mark.parametrize("shape", [GREY, COLOUR])
@pytest.mark.parametrize("name", ["tasks.json", "both.zip"])
def test_label_studio_has_tasks_with_predictions_and_its_interface(
    tmp_path: Path, shape: tuple[int, ...], name: str
) -> None:
    images = values(shape)
    write_dataset(exported(images), DatasetFormat.LABELSTUDIO, tmp_path / name)
    if name.endswith(".zip"):
        with zipfile.ZipFile(tmp_path / name) as archive:
            assert archive.namelist() == ["tasks.json", "tasks.xml"]
            archive.extractall(tmp_path)  # our own archive
    view = ET.parse(tmp_path / "tasks.xml").getroot()  # noqa: S314 - a file of our own
    choices, picture = view.find("Choices"), view.find("Image")
    assert choices is not None
    assert picture is not None
    assert [choice.get("value") for choice in choices] == list(CLASSES)
    assert (choices.get("toName"), picture.get("value")) == (picture.get("name"), "$image")
    tasks = json.loads((tmp_path / "tasks.json").read_text())
    for index, task in enumerate(tasks):
        of, (head, data) = row(index), task["data"]["image"].split(",")
        assert head == "data:image/png;base64"
        assert (decode(b64decode(data)) == brightened(images[index])).all()
        assert task["data"]["true_class"] == of["true_class"]
        if of["predicted_class"] is None:
            assert task["predictions"] == []
            continue
        (prediction,) = task["predictions"]
        (result,) = prediction["result"]
        assert (prediction["model_version"], prediction["score"]) == ("pets@1", of["probability"])
        assert result["value"] == {"choices": [of["predicted_class"]]}
        assert (result["from_name"], result["to_name"]) == (choices.get("name"), picture.get("name"))
        assert result["type"] == "choices"
    assert len(tasks) == 7


@pytest.mark.parametrize("shape", [GREY, COLOUR, VECTOR])
@pytest.mark.parametrize("name", ["set.parquet", "set"])
def test_hugging_face_is_read_by_annealq_with_the_same_values(
    tmp_path: Path, shape: tuple[int, ...], name: str
) -> None:
    pytest.importorskip("pyarrow", reason="needs annealq[parquet]")
    images = values(shape)
    write_dataset(exported(images), DatasetFormat.HUGGINGFACE, tmp_path / name)
    found = read_images(tmp_path / name)
    np.testing.assert_array_equal(found.images, images)
    assert found.labels is not None
    assert found.labels.tolist() == [index % 3 for index in range(7)]
    assert found.classes == CLASSES


@pytest.mark.parametrize("shape", [GREY, VECTOR])
def test_hugging_face_notes_types_and_has_all_columns(tmp_path: Path, shape: tuple[int, ...]) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs annealq[parquet]")
    write_dataset(exported(values(shape)), DatasetFormat.HUGGINGFACE, tmp_path / "a.parquet")
    table = parquet.read_table(tmp_path / "a.parquet")
    features = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
    assert list(features) == table.schema.names
    labels = {"_type": "ClassLabel", "names": list(CLASSES)}
    assert features["label"] == features["prediction"] == features["class_set"]["feature"] == labels
    if shape is VECTOR:
        kind = {"_type": "Sequence", "length": 11, "feature": {"_type": "Value", "dtype": "float32"}}
        assert features["features"] == kind
        assert str(table.schema.field("features").type.value_type) == "float"
    else:
        assert features["image"] == {"_type": "Image"}
    rows = table.to_pylist()
    assert [each["prediction"] for each in rows] == [0, 2, -1, 0, 2, -1, 0]
    assert [each["class_set"] for each in rows] == [[0, 2]] * 7
    assert [each["probabilities"] for each in rows] == [None, *[[0.5, 0.25, 0.25]] * 6]
    assert [each["energy_gap"] for each in rows] == [None] * 7
    assert json.loads(table.schema.metadata[b"annealq"])["network"] == "pets@1"


def test_images_without_labels_have_unknown_ones_in_parquet(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="needs annealq[parquet]")
    run = exported(values(GREY), labelled=False)
    write_dataset(run, DatasetFormat.HUGGINGFACE, tmp_path / "a.parquet")
    assert read_images(tmp_path / "a.parquet").labels is None


def test_shards_are_numbered_and_read_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyarrow", reason="needs annealq[parquet]")
    images = values(GREY, 25)
    monkeypatch.setattr(hugging_face, "MOST_ROWS", 4)
    monkeypatch.setattr(hugging_face, "SHARD_BYTES", 8 * images[0].nbytes)
    write_dataset(exported(images), DatasetFormat.HUGGINGFACE, tmp_path / "set")
    names = sorted(path.name for path in (tmp_path / "set" / "data").iterdir())
    assert names == [f"train-{number:05d}-of-00004.parquet" for number in range(4)]
    np.testing.assert_array_equal(read_images(tmp_path / "set").images, images)


@pytest.mark.slow
@pytest.mark.parametrize("shape", [GREY, COLOUR, VECTOR])
def test_the_library_datasets_reads_types_and_values(
    tmp_path: Path, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets", reason="needs Hugging Face's datasets: pip install datasets")
    images = values(shape)
    write_dataset(exported(images), DatasetFormat.HUGGINGFACE, tmp_path / "set")
    read = datasets.load_dataset(str(tmp_path / "set"), split="train", cache_dir=str(tmp_path / "cache"))
    assert read.features["label"].names == list(CLASSES)
    assert read.features["prediction"].names == list(CLASSES)
    assert read["label"][:] == [index % 3 for index in range(7)]
    column = "features" if shape is VECTOR else "image"
    np.testing.assert_array_equal(np.array([np.asarray(each) for each in read[column]], images.dtype), images)


@pytest.mark.parametrize(
    ("form", "name"),
    [
        (DatasetFormat.FIFTYONE, "set"),
        (DatasetFormat.FIFTYONE, "set.zip"),
        (DatasetFormat.LABELSTUDIO, "set.json"),
        (DatasetFormat.LABELSTUDIO, "set.zip"),
        (DatasetFormat.HUGGINGFACE, "set"),
        (DatasetFormat.HUGGINGFACE, "set.parquet"),
    ],
)
def test_a_damaged_image_leaves_nothing_behind(tmp_path: Path, form: DatasetFormat, name: str) -> None:
    with pytest.raises(Corrupt):
        write_dataset(exported(values(GREY), breaks_at=5), form, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("form", [DatasetFormat.FIFTYONE, DatasetFormat.LABELSTUDIO])
def test_vectors_are_refused_where_they_cannot_be_shown(tmp_path: Path, form: DatasetFormat) -> None:
    with pytest.raises(ParameterError, match=r"vectors of 11 values.*the format huggingface"):
        write_dataset(exported(values(VECTOR)), form, tmp_path / "set.json")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("form", [DatasetFormat.FIFTYONE, DatasetFormat.HUGGINGFACE])
def test_a_folder_with_files_is_not_touched(tmp_path: Path, form: DatasetFormat) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "mine.txt").write_text("mine")
    with pytest.raises(ParameterError, match="exists already; name a new folder"):
        write_dataset(exported(values(GREY)), form, folder)
    assert [path.name for path in tmp_path.rglob("*")] == ["set", "mine.txt"]
    (folder / "mine.txt").unlink()
    write_dataset(exported(values(GREY)), form, folder)
    assert any(folder.iterdir())


@pytest.mark.parametrize("form", list(DatasetFormat))
def test_memory_does_not_grow_with_the_number_of_images(
    tmp_path: Path, form: DatasetFormat, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fivefold images, less than twice the memory: a batch, or a group of rows, is in memory at a time."""
    pytest.importorskip("pyarrow", reason="needs annealq[parquet]")
    monkeypatch.setattr(hugging_face, "MOST_ROWS", 50)
    write_dataset(exported(values(GREY)), form, tmp_path / "first.json")  # imports what it needs
    peaks = []
    for count in (100, 500):
        run = exported(np.broadcast_to(values((16, 16), 1), (count, 16, 16)))
        tracemalloc.start()
        write_dataset(run, form, tmp_path / f"{count}.json")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 2 * peaks[0], peaks


def test_tasks_of_label_studio_need_their_suffix(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"written as NAME\.json"):
        write_dataset(exported(values(GREY)), DatasetFormat.LABELSTUDIO, tmp_path / "tasks")
