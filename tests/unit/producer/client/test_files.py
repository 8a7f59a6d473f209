"""Images and labels as the client sends them."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from producer.client import UnusableImages
from producer.client.files import image_files, label_file

PIXELS = np.arange(128, dtype=np.uint8).reshape(2, 8, 8)


def saved(kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(PIXELS[0]).save(file, kind, **options)
    return file.getvalue()


def npz(save: Any = np.savez) -> bytes:
    file = io.BytesIO()
    save(file, images=PIXELS, labels=np.array([1, 2]))
    return file.getvalue()


@pytest.mark.parametrize("images", [PIXELS, PIXELS.tolist(), list(PIXELS), PIXELS.astype(float) / 255])
def test_numbers_become_one_array(images: Any) -> None:
    ((name, content),) = image_files(images)
    assert name == "images.npy"
    assert np.array_equal(np.load(io.BytesIO(content), allow_pickle=False), np.asarray(images))


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (saved("PNG"), "images.png"), (saved("JPEG"), "images.jpg"), (saved("WEBP"), "images.webp"),
        (saved("BMP"), "images.bmp"), (saved("GIF"), "images.gif"), (saved("TIFF"), "images.tif"),
        (saved("PPM"), "images.pgm"), (npz(), "images.npz"), (npz(np.savez_compressed), "images.npz"),
        (b"label,p0\n1,0\n", "images.csv"), (b"\0\0\x08\x03\0\0\0\1", "images.idx"),
        (b"PK\x03\x04 not a whole archive", "images.zip"),
    ],
)  # fmt: skip
def test_the_server_is_told_what_bytes_are(content: bytes, name: str) -> None:
    assert image_files(content) == [(name, content)]
    assert image_files(io.BytesIO(content)) == [(name, content)]


def test_paths_are_files_with_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = tmp_path / "7.png", tmp_path / "8.png"
    first.write_bytes(saved("PNG"))
    second.write_bytes(saved("PNG"))
    expected = [("7.png", first.read_bytes()), ("8.png", second.read_bytes())]
    assert image_files([first, str(second)]) == expected
    assert image_files(str(first)) == image_files(first) == expected[:1]
    assert image_files([saved("PNG"), saved("JPEG")])[1][0] == "000001.jpg"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert image_files("~/7.png") == expected[:1]
    with first.open("rb") as file:
        assert image_files(file) == expected[:1]


def test_a_folder_becomes_an_archive_with_its_classes(tmp_path: Path) -> None:
    for name in ("cat/1.png", "dog/2.png", ".cache/3.png", "dog/.DS_Store"):
        path = tmp_path / "pets" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(saved("PNG"))
    ((name, content),) = image_files(tmp_path / "pets")
    assert name == "pets.zip"
    assert zipfile.ZipFile(io.BytesIO(content)).namelist() == ["cat/1.png", "dog/2.png"]


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ("nowhere.npz", "nowhere.npz cannot be read .*uri="),
        (["1.png", 5], "not numbers|cannot be read"),
        ([[[1, 2]], [[1, 2, 3]]], "one size"),
        ([{"a": 1}], "type object are not numbers"),
        (io.StringIO("1,2"), "open as text"),
        ([[["a"]]], "are not numbers"),
    ],
)
def test_what_cannot_be_sent_is_named(
    images: Any, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnusableImages, match=message):
        image_files(images)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnusableImages, match="has no files"):
        image_files(tmp_path)


def test_labels_are_an_array_or_a_file(tmp_path: Path) -> None:
    name, content = label_file([3, 1, 2])
    assert (name, np.load(io.BytesIO(content), allow_pickle=False).tolist()) == ("labels.npy", [3, 1, 2])
    (tmp_path / "labels.csv").write_text("3\n1\n")
    assert label_file(str(tmp_path / "labels.csv")) == ("labels.csv", b"3\n1\n")
