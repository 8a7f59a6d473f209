"""CSV of paths and labels: columns, splits, and paths that lead out of the folder."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from producer.images.in_pieces import open_pieces
from producer.images.source import read_images
from schema.errors import ImageError

GREY = np.random.default_rng(3).integers(0, 256, (4, 6, 5), np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "set" / "pictures").mkdir(parents=True)
    for k, image in enumerate(GREY):
        Image.fromarray(image).save(tmp_path / "set" / "pictures" / f"{k}.png")
    Image.fromarray(GREY[0]).save(tmp_path / "private.png")
    return tmp_path / "set"


def table(folder: Path, *lines: str) -> Path:
    (folder / "a.csv").write_text("\n".join(lines) + "\n")
    return folder / "a.csv"


@pytest.mark.parametrize(
    ("lines", "labels", "classes"),
    [
        (["path,label", "pictures/1.png,dog", "pictures/0.png,cat"], [1, 0], ("cat", "dog")),
        (["Label,other,file_name", '"7",x,"pictures/1.png"', "2,y,pictures/0.png"], [7, 2], None),
        (["pictures/1.png,3", "pictures/0.png,4"], [3, 4], None),
        (["pictures/1.png", "pictures/0.png"], None, None),
        (["what,target", "pictures/1.png,b", "pictures/0.png,a"], [1, 0], ("a", "b")),
    ],
)
def test_columns(folder: Path, lines: list[str], labels: list[int] | None, classes: object) -> None:
    read = read_images(table(folder, *lines))
    np.testing.assert_array_equal(read.images, GREY[[1, 0]])
    assert (read.sources, read.classes) == (("pictures/1.png", "pictures/0.png"), classes)
    assert (None if read.labels is None else read.labels.tolist()) == labels


def test_splits_and_rows(folder: Path) -> None:
    rows = [f"pictures/{k}.png,{k},{'train' if k else 'test'}" for k in range(4)]
    path = table(folder, "path,label,split", *rows)
    assert read_images(f"{path}:train").labels.tolist() == [1, 2, 3]  # type: ignore[union-attr]
    for source, message in ((str(path), "several splits"), (f"{path}:x", "no split called 'x'")):
        with pytest.raises(ImageError, match=rf"{message}: choose one of .*a\.csv:test, .*a\.csv:train"):
            read_images(source)
    opened = open_pieces(f"{path}:train")
    assert opened is not None
    assert [piece.rows.tolist() for piece in opened[0].read(1)] == [[1, 2]]
    with pytest.raises(ImageError, match="no split called 'x': it has no column 'split'"):
        read_images(f"{table(folder, 'pictures/0.png,0')}:x")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("../private.png", "not below the folder of the file"),
        ("pictures/../../private.png", "not below the folder of the file"),
        ("/etc/passwd.png", "not below the folder of the file"),
        ("~/a.png", "not below the folder of the file"),
        ("file:///etc/a.png", "not below the folder of the file"),
        ("http://127.0.0.1/a.png", "not below the folder of the file"),
        ("pictures/link.png", "is a symbolic link out of"),
        ("pictures/gone.png", "does not exist"),
        ("pictures/pipe.png", "is not a regular file"),
        ("pictures\0.png", "null byte|not CSV"),
    ],
)
def test_paths_that_lead_elsewhere(folder: Path, path: str, message: str) -> None:

    (folder / "pictures" / "link.png").symlink_to(folder.parent / "private.png")
    os.mkfifo(folder / "pictures" / "pipe.png")
    with pytest.raises(ImageError, match=message):
        read_images(table(folder, "pictures/0.png", path))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["path,label", "pictures/0.png,a", "pictures/1.png"], "1 value in line 3 and 2 in the lines before"),
        (["path,label", "", "pictures/0.png,a", "pictures/1.png"], "1 value in line 4 and 2 in the lines"),
        (
            ["path,label", "notes.txt,a", "pictures/0.png,b"],
            r"notes\.txt is damaged or not a PNG, .*: remove it",
        ),
        (["label,file", "a,gone.txt", "b,pictures/0.png"], r"gone\.txt does not exist"),
        (["path,label", ",a", "pictures/0.png,b"], "row 0 names '', which is not below the folder"),
        (
            ["notes.txt,a", "pictures/0.png,b"],
            r"begins with 'notes\.txt', which is neither the name of a pic",
        ),
        (
            ["pictures/0,a", "pictures/1.png,b"],
            "begins with 'pictures/0', .* a header as `path,label`, or rem",
        ),
        (["path,label", "pictures/0.png,a", "pictures/1.png,"], "labels that are not numbers or names"),
        (["pictures/0.png,a,b"], "3 columns without names: begin it with a header"),
        (["a,pictures/0.png"], "2 columns without names: begin it with a header"),
        (["path,label", '"pictures/0.png'], "is not CSV"),
        (["path,label", "pictures/0.png,70000"], "label 70000 for image 0"),
    ],
)
def test_tables_that_cannot_be_used(folder: Path, lines: list[str], message: str) -> None:
    (folder / "notes.txt").write_text("a")
    with pytest.raises(ImageError, match=message):
        read_images(table(folder, *lines))
