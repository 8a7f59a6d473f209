"""Tar files of pictures: class folders, splits, WebDataset in shards; nothing hostile is read."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from producer.images.archives import tarred
from producer.images.archives.open import open_tar
from producer.images.pictures.pictures import PicturePieces
from producer.images.pieces.allowance import Allowance
from producer.images.preprocessing import AS_IS, Changes, Preprocessing
from producer.images.source import read_images
from schema.errors import ImageError
from tests.conftest import data_file

GREY = np.random.default_rng(3).integers(0, 256, (12, 6, 5), np.uint8)


def png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def tar(path: Path, members: dict[str, bytes], mode: str = "w", **header: Any) -> Path:
    """Write ``members``; the last one has the fields of ``header``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode, format=tarfile.PAX_FORMAT) as archive:  # type: ignore[call-overload]
        for k, (name, data) in enumerate(members.items()):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            if k == len(members) - 1:
                for field, value in header.items():
                    setattr(info, field, value)
            archive.addfile(info, io.BytesIO(data))
    return path


def samples(rows: range, label: str = "cls") -> dict[str, bytes]:
    members = {}
    for k in rows:
        members[f"{k:06}.png"] = png(GREY[k])
        members[f"{k:06}.{label}"] = {"cls": b"%d" % (k % 3), "txt": b"ab"[k % 2 : k % 2 + 1] + b"\n"}.get(
            label, json.dumps({"label": "xyz"[k % 3]}).encode()
        )
    return members


# class folders


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tgz"])
@pytest.mark.parametrize("prefix", ["", "set/"])
def test_class_folders_are_read_in_the_order_of_the_archive(tmp_path: Path, suffix: str, prefix: str) -> None:
    names = ["dog/b.png", "cat/z.png", "dog/a.png"]
    members = {prefix + name: png(GREY[k]) for k, name in enumerate(names)}
    members |= {f"{prefix}.DS_Store": b"", f"{prefix}readme.md": b"text", f"{prefix}cat/deep/x/a.png": b""}
    read = read_images(tar(tmp_path / f"a{suffix}", members, "w" if suffix == ".tar" else "w:gz"))
    assert (read.sources, read.classes) == (tuple(names), ("cat", "dog"))
    assert read.labels is not None
    assert read.labels.tolist() == [1, 0, 1]
    np.testing.assert_array_equal(read.images, GREY[:3])
    assert read.notes == ("2 left out, as no pictures (readme.md, cat/deep/x/a.png)",)


def test_a_flat_archive_is_unlabelled_and_takes_labels(tmp_path: Path) -> None:
    path = tar(tmp_path / "a.tar", {"b.png": png(GREY[0]), "a.png": png(GREY[1])})
    (tmp_path / "l.txt").write_text("4\n2\n")
    assert (read_images(path).labels, read_images(path).sources) == (None, ("b.png", "a.png"))
    assert read_images(path, tmp_path / "l.txt").labels.tolist() == [4, 2]  # type: ignore[union-attr]


def test_a_folder_of_class_folders_is_a_split(tmp_path: Path) -> None:
    members = {f"set/{split}/{name}/a.png": png(GREY[0]) for split in ("train", "test") for name in "ab"}
    path = tar(tmp_path / "a.tar", members)
    assert read_images(f"{path}:test").sources == ("a/a.png", "b/a.png")
    for source, message in (
        (str(path), "has folders of class folders"),
        (f"{path}:x", "has no folder called 'x'"),
    ):
        with pytest.raises(ImageError, match=rf"{message}: choose one of .*a\.tar:test, .*a\.tar:train"):
            read_images(source)


def test_archives_of_other_data_are_to_be_unpacked(tmp_path: Path) -> None:
    for name in ("cifar-10-batches-bin/data_batch_1.bin", "cifar-10-batches-py/data_batch_1"):
        path = tar(tmp_path / "a.tar.gz", {name: b"\0", "readme.html": b""}, "w:gz")
        with pytest.raises(ImageError, match=r"holds data_batch_1.*unpack it, and give the folder"):
            read_images(path)


def test_rows_are_read_from_any_row_on(tmp_path: Path) -> None:
    for suffix, mode in ((".tar", "w"), (".tar.gz", "w:gz")):
        for shard in range(2):
            path = tmp_path / mode / f"train-{shard:06}{suffix}"
            tar(path, samples(range(shard * 6, shard * 6 + 6)), mode)
        changes = Changes()
        pictures = open_tar(tmp_path / mode, None, changes, Allowance())
        pieces = PicturePieces(pictures, AS_IS, changes, Allowance())
        assert (pieces.count, [shard.first for shard in pieces.shards]) == (12, [0, 6])
        for first in (0, 1, 5, 6, 11, 12):
            found = list(pieces.read(first))
            rows = np.concatenate([np.empty(0, int), *(piece.rows for piece in found)])
            assert rows.tolist() == list(range(first, 12))
            for piece in found:
                np.testing.assert_array_equal(piece.images, GREY[piece.rows])
                np.testing.assert_array_equal(piece.labels, piece.rows % 3)  # type: ignore[arg-type]
                assert set(piece.rows // 6) == {piece.shard}


# WebDataset


def test_a_shard_has_the_rows_of_its_parquet_files() -> None:
    shard = read_images(data_file("eurosat-wds-000000.tar"))
    other = read_images(f"{data_file('hf_eurosat_parquet')}:train")
    np.testing.assert_array_equal(shard.images, other.images)
    np.testing.assert_array_equal(shard.labels, other.labels)  # type: ignore[arg-type]
    assert (len(shard.images), shard.classes) == (300, other.classes)


@pytest.mark.parametrize(
    ("label", "labels", "classes"),
    [
        ("cls", [0, 1, 2], None),
        ("txt", [0, 1, 0], ("a", "b")),
        ("json", [0, 1, 2], ("x", "y", "z")),
    ],
)
def test_labels_of_samples(tmp_path: Path, label: str, labels: list[int], classes: Any) -> None:
    read = read_images(tar(tmp_path / "a.tar", samples(range(12), label)))
    assert read.labels is not None
    assert (read.labels.tolist()[:3], read.classes) == (labels, classes)
    assert read.sources is not None
    assert read.sources[1] == "000001.png"


def test_captions_are_not_labels(tmp_path: Path) -> None:
    members = {}
    for k in range(30):
        members |= {f"{k}.png": png(GREY[0]), f"{k}.txt": f"a picture of {k}".encode()}
    read = read_images(tar(tmp_path / "a.tar", members))
    assert read.labels is None
    assert read.notes == ("texts that differ in most images are captions, and not read as labels",)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"a.left.png": png(GREY[0]), "a.right.png": png(GREY[1]), "a.cls": b"1"}, "a has several pictures"),
        ({**samples(range(2)), "9.png": png(GREY[2])}, r"no label for 9\.png: add or drop it"),
        ({**samples(range(2)), "9.png": png(GREY[2]), "9.cls": b"70000"}, "label 70000 for image 2 "),
        ({**samples(range(2)), "9.png": png(GREY[2]), "9.cls": b"\xff"}, r"9\.cls is not UTF-8"),
        ({**samples(range(2)), "9.png": png(GREY[2]), "9.cls": b""}, "labels that are not numbers or names"),
        ({**samples(range(2)), "9.png": png(GREY[2]), "9.json": b"["}, r"9\.json is not a JSON object"),
        ({**samples(range(2)), "9.png": png(GREY[2]), "9.json": b"[" * 60_000}, "is not a JSON object"),
    ],
)
def test_samples_that_cannot_be_used(tmp_path: Path, members: dict[str, bytes], message: str) -> None:
    with pytest.raises(ImageError, match=message):
        read_images(tar(tmp_path / "a.tar", members))


def test_shards_and_splits(tmp_path: Path) -> None:
    for name in ("train-000000", "train-000001", "test-000000"):
        tar(tmp_path / f"{name}.tar", samples(range(3)))
    assert len(read_images(f"{tmp_path}:train").images) == 6
    with pytest.raises(ImageError, match=r"several splits: choose one of .*:test, .*:train"):
        read_images(tmp_path)
    (tmp_path / "train-000001.tar").rename(tmp_path / "train-000002.tar")
    with pytest.raises(ImageError, match=r":train lacks shard 00001 of 3: fetch all shards"):
        read_images(f"{tmp_path}:train")


def test_unreadable_pictures_are_left_out(tmp_path: Path) -> None:
    members = samples(range(3)) | {"000001.png": b"rubbish"}
    with pytest.raises(ImageError, match=r"000001\.png is damaged .*--skip-unreadable"):
        read_images(tar(tmp_path / "a.tar", members))
    read = read_images(tmp_path / "a.tar", preprocessing=Preprocessing(skip_unreadable=True))
    assert read.labels is not None
    assert read.labels.tolist() == [0, 2]


# hostile files


@pytest.mark.parametrize(
    ("name", "header", "message"),
    [
        ("../a.png", {}, r"\.\./a\.png is not the name of a file inside"),
        ("/a.png", {}, "//a.png is not the name of a file inside"),
        ("x/../../a.png", {}, "is not the name of a file inside"),
        (r"x\..\a.png", {}, "is not the name of a file inside"),
        ("0.png", {}, "is there twice: archive the folder again"),
        ("a.png", {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd", "size": 0}, "is a link or not a file"),
        ("a.png", {"type": tarfile.LNKTYPE, "linkname": "0.png", "size": 0}, "is a link or not a file"),
        ("a.png", {"type": tarfile.CHRTYPE, "size": 0}, "is a link or not a file"),
        ("a.png", {"type": tarfile.FIFOTYPE, "size": 0}, "is a link or not a file"),
        ("a.png", {"size": 2**40}, r"a\.png is truncated"),
        ("a.png", {"size": 2**70}, r"a\.png is truncated"),
    ],
)
def test_members_that_are_refused(tmp_path: Path, name: str, header: dict[str, Any], message: str) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as archive:
        first = tarfile.TarInfo("0.png")
        first.size = len(png(GREY[0]))
        archive.addfile(first, io.BytesIO(png(GREY[0])))
        info = tarfile.TarInfo(name)
        for field, value in header.items():
            setattr(info, field, value)
        assert archive.fileobj is not None
        archive.fileobj.write(info.tobuf(tarfile.GNU_FORMAT))  # type: ignore[arg-type]
    with pytest.raises(ImageError, match=message):
        read_images(path)


def pax(size: str, repeats: int = 1) -> bytes:
    """Return a member whose extended header announces ``size``, ``repeats`` headers before it."""
    record = b"%d size=%s\n" % (len(size) + 9, size.encode())
    assert record.startswith(b"%d " % len(record))
    extended = tarfile.TarInfo("x")
    extended.type, extended.size = tarfile.XHDTYPE, len(record)
    whole = extended.tobuf(tarfile.USTAR_FORMAT) + record.ljust(512, b"\0")
    return whole * repeats + tarfile.TarInfo("a.png").tobuf(tarfile.USTAR_FORMAT)


@pytest.mark.parametrize(
    "data",
    [
        pax("-1024"),
        pax("-9999"),
        pax("0", repeats=5000),
        b"\xff" * 512,
        b"a" * 5000,
        b"",
        tarfile.TarInfo("a.png").tobuf(),
    ],
    ids=["back", "far back", "nested", "noise", "letters", "empty", "no end"],
)
def test_damaged_headers(tmp_path: Path, data: bytes) -> None:
    for name, content in (("a.tar", data), ("b.tar.gz", gzip.compress(data))):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ImageError, match=name):
            read_images(tmp_path / name)


def test_headers_and_names_in_all_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tarfile.TarInfo("x")
    long.type, long.size = tarfile.XHDTYPE, 2**32
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(long.tobuf(tarfile.USTAR_FORMAT) + bytes(2**21)))
    with pytest.raises(ImageError, match=r"a header of more than 1\.0 MiB"):
        read_images(tmp_path / "a.tar.gz")
    path = tar(tmp_path / "b.tar", {"x/a.png": png(GREY[0]), "x/b.png": png(GREY[0])})
    for limit, message in (("MAX_MEMBERS", "more than 1 members"), ("MAX_LISTED_BYTES", "1 byte of names")):
        with monkeypatch.context() as patch:
            patch.setattr(tarred, limit, 1)
            with pytest.raises(ImageError, match=message):
                read_images(path)
    monkeypatch.setattr(tarred, "MAX_MEMBER_BYTES", 10)
    with pytest.raises(ImageError, match=r"a\.png has .* more than 10 bytes: scale it down"):
        read_images(path)


def test_a_compressed_archive_may_not_unpack_to_too_much(tmp_path: Path) -> None:
    path = tar(tmp_path / "a.tar.gz", {"a.png": png(GREY[0]), "b.bin": bytes(3_000_000)}, "w:gz")
    assert path.stat().st_size < 10_000
    with pytest.raises(ImageError, match=r"a\.tar\.gz: unpacks to more than 2 MB"):
        read_images(path, allowance=Allowance(2_000_000))
    data = path.read_bytes()
    path.write_bytes(data[:-20])
    with pytest.raises(ImageError, match=r"a\.tar\.gz"):
        read_images(path)


def test_an_archive_that_changes_is_not_read_on(tmp_path: Path) -> None:
    changes = Changes()
    pictures = open_tar(tar(tmp_path / "a.tar", samples(range(3))), None, changes, Allowance())
    pieces = PicturePieces(pictures, AS_IS, changes, Allowance())
    tar(tmp_path / "a.tar", samples(range(2)))
    with pytest.raises(ImageError, match="changed while it was read: try again"):
        list(pieces.read())
