"""Addresses of object stores: read in place, never with credentials, and by commands only."""

from __future__ import annotations

import tempfile
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

from producer.commands.shared.reading import read
from producer.images import stores
from producer.images.preprocessing import AS_IS
from producer.images.source import read_images
from producer.intake.find import read_at_once
from producer.runs.request import ClassificationRequest
from schema.errors import ImageError

pytest.importorskip("pyarrow", reason="needs annealq[parquet]")
IMAGES = np.random.default_rng(2).integers(0, 256, (3, 5, 4), np.uint8)


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in place of the bucket `bucket`, and no temporary files elsewhere."""
    from pyarrow import fs

    def open_store(address: str) -> tuple[fs.FileSystem, str]:
        parts = urlsplit(address)
        return fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem()), f"{parts.netloc}{parts.path}"

    monkeypatch.setattr(stores, "open_store", open_store)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "bucket" / "set").mkdir(parents=True)
    return tmp_path / "bucket"


def test_files_folders_and_parts_are_read_in_place(bucket: Path) -> None:
    from PIL import Image

    np.savez(bucket / "a.npz", train_images=IMAGES, test_images=IMAGES[:2])
    for name in ("train/x/a.png", "train/y/b.png", "test/x/c.png"):
        (bucket / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(IMAGES[0]).save(bucket / "set" / name)
    found = read("s3://bucket/a.npz:test", None, None, AS_IS)
    np.testing.assert_array_equal(found.images, IMAGES[:2])
    assert found.origin is not None
    assert (found.name, found.origin.data) == ("a.npz:test", "s3://bucket/a.npz:test")
    request = ClassificationRequest(data="s3://bucket/a.npz:train", limit=2)
    chosen = read_at_once(request)
    np.testing.assert_array_equal(chosen.images, IMAGES[:2])
    assert chosen.origin is not None
    assert (chosen.origin.data, chosen.origin.limit) == ("s3://bucket/a.npz:train", 2)
    folder = read("gs://bucket/set/train", None, None, AS_IS)
    assert (folder.classes, folder.sources) == (("x", "y"), ("x/a.png", "y/b.png"))
    with pytest.raises(ImageError, match=r"^s3://bucket/a\.npz has several .*s3://bucket/a\.npz:test, s3:"):
        read("s3://bucket/a.npz", None, None, AS_IS)
    assert list((bucket.parent / "temporary").iterdir()) == []


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("s3://bucket/gone.npz", r"gone\.npz does not exist: check its spelling and the region"),
        ("s3://bucket/set", "is a folder without files"),
        ("s3://key:secret@bucket/a.npz", "holds credentials, which would be stored"),
        ("s3://key:sec/secret@bucket/a.npz", "holds credentials, which would be stored"),
        ("s3://secret@bucket/a.npz", "holds credentials, which would be stored"),
        ("abfs://container:secret@account/a.npz", "holds credentials, which would be stored"),
        ("abfs://account/a.npz?client_secret=secret", "options that are not known: region, scheme"),
        ("s3://bucket/a.npz#x", "options that are not known"),
    ],
)
def test_addresses_that_are_refused(bucket: Path, address: str, message: str) -> None:
    with pytest.raises(ImageError, match=message) as raised:
        read(address, None, None, AS_IS)
    assert "secret" not in str(raised.value)


def test_names_that_lead_out_and_too_much(bucket: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(bucket / "set" / "a\\b.npy", IMAGES)
    with pytest.raises(ImageError, match="a file of a name that leads elsewhere"):
        read("s3://bucket/set", None, None, AS_IS)
    monkeypatch.setattr(stores, "MAX_MEMBERS", 0)
    with pytest.raises(ImageError, match=r"has 1 file, more than 0: name a part of it"):
        read("s3://bucket/set", None, None, AS_IS)


@pytest.mark.parametrize("address", ["s3://bucket/a.npz", "http://127.0.0.1/a.npz", "file:///etc/a.npz"])
def test_readers_take_no_address(address: str) -> None:
    with pytest.raises(ImageError, match="is an address: commands read s3://, gs:// and abfs:// as DATA"):
        read_images(address)
