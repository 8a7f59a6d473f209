"""CIFAR's binary files and torchvision's folder of MNIST: splits, class names, missing files, pickles."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from producer.images.arrays.cifar import CifarPieces
from producer.images.arrays.cifar_files import find_cifar
from producer.images.pieces.allowance import Allowance
from producer.images.preprocessing import AS_IS, Changes, Fit, Preprocessing
from producer.images.source import read_images
from schema.errors import ImageError

RNG = np.random.default_rng(2)


def records(count: int, head: int, classes: int) -> tuple[bytes, np.ndarray, np.ndarray]:
    """Return a file of records, their images (N, 32, 32, 3) and labels."""
    images = RNG.integers(0, 256, (count, 32, 32, 3), np.uint8)
    labels = RNG.integers(0, classes, count)
    heads = np.concatenate([np.full((count, head - 1), 7), labels[:, None]], axis=1).astype(np.uint8)
    planes = images.transpose(0, 3, 1, 2).reshape(count, -1)
    return np.concatenate([heads, planes], axis=1).tobytes(), images, labels


def save(folder: Path, head: int = 1, classes: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """Write a version of CIFAR; return its training images and labels."""
    folder.mkdir(exist_ok=True)
    names = [f"data_batch_{k}.bin" for k in range(1, 6)] if head == 1 else ["train.bin"]
    parts = [records(7, head, classes) for _ in names]
    for name, (data, _, _) in zip(names, parts, strict=True):
        (folder / name).write_bytes(data)
    (folder / ("test_batch.bin" if head == 1 else "test.bin")).write_bytes(records(3, head, classes)[0])
    meta = "batches.meta.txt" if head == 1 else "fine_label_names.txt"
    (folder / meta).write_text("\n".join(f"class{k}" for k in range(classes)) + "\n\n")
    return np.concatenate([part[1] for part in parts]), np.concatenate([part[2] for part in parts])


@pytest.mark.parametrize(("head", "classes"), [(1, 10), (2, 100)])
def test_a_folder_has_splits_and_class_names(tmp_path: Path, head: int, classes: int) -> None:
    images, labels = save(tmp_path, head, classes)
    read = read_images(f"{tmp_path}:train")
    assert read.labels is not None
    np.testing.assert_array_equal(read.images, images)
    np.testing.assert_array_equal(read.labels, labels)
    assert read.classes == tuple(f"class{k}" for k in range(classes))
    files = find_cifar(tmp_path)["train"]
    pieces = CifarPieces("a", files, AS_IS, Changes(), Allowance())
    for first in (0, 3, 7, len(images)):
        found = list(pieces.read(first))
        assert sum(len(piece.rows) for piece in found) == len(images) - first
        for piece in found:
            np.testing.assert_array_equal(piece.images, images[piece.rows])
    small = read_images(f"{tmp_path}:train", preprocessing=Preprocessing((8, 9), Fit.STRETCH))
    assert (small.images.shape, small.notes) == (
        (len(images), 8, 9, 3),
        (f"{len(images)} resized to 8 x 9 (stretch)",),
    )
    with pytest.raises(ImageError, match=r"several splits: choose one of .*:test, .*:train"):
        read_images(tmp_path)


def test_one_file_is_recognised_by_its_size(tmp_path: Path) -> None:
    data, _, labels = records(4, 2, 100)
    (tmp_path / "a.bin").write_bytes(data)
    read = read_images(tmp_path / "a.bin")
    assert (read.labels.tolist(), read.classes) == (labels.tolist(), None)  # type: ignore[union-attr]


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    save(tmp_path)
    (tmp_path / "data_batch_3.bin").rename(tmp_path / "a.bin")
    with pytest.raises(ImageError, match=r"lacks data_batch_3\.bin: unpack the archive of CIFAR again"):
        read_images(f"{tmp_path}:train")
    (tmp_path / "a.bin").rename(tmp_path / "data_batch_3.bin")
    (tmp_path / "data_batch_3.bin").write_bytes(bytes(5000))
    with pytest.raises(ImageError, match="5,000 bytes, which are not whole records of CIFAR-10"):
        read_images(f"{tmp_path}:train")
    (tmp_path / "a.bin").write_bytes(bytes(3073) + b"\x0a" + bytes(3072))
    with pytest.raises(ImageError, match="has label 10 in image 1, and 10 classes"):
        read_images(tmp_path / "a.bin")


@pytest.mark.parametrize("names", [("data_batch_1", "batches.meta"), ("train", "test", "meta")])
def test_the_versions_for_python_are_refused(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in names:
        (tmp_path / name).write_bytes(b"\x80\x02.")
    with pytest.raises(ImageError, match=r"pickles, which can run code .*cifar-10-binary\.tar\.gz"):
        read_images(tmp_path)


# torchvision's folder of MNIST


def idx(array: np.ndarray) -> bytes:
    return (
        struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()
    )


@pytest.mark.parametrize("inner", ["", "raw", "MNIST/raw"])
def test_a_folder_of_mnist(tmp_path: Path, inner: str) -> None:
    folder = tmp_path / inner
    folder.mkdir(parents=True, exist_ok=True)
    images = RNG.integers(0, 256, (5, 4, 4), np.uint8)
    (folder / "train-images-idx3-ubyte").write_bytes(idx(images))
    (folder / "train-labels-idx1-ubyte").write_bytes(idx(np.arange(5, dtype=np.uint8)))
    assert len(read_images(tmp_path).images) == 5
    (folder / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images[:2])))
    (folder / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(np.arange(2, dtype=np.uint8))))
    train, test = read_images(f"{tmp_path}:train"), read_images(f"{tmp_path}:test")
    np.testing.assert_array_equal(train.images, images)
    assert train.labels is not None
    assert test.labels is not None
    assert (train.labels.tolist(), test.labels.tolist()) == ([0, 1, 2, 3, 4], [0, 1])
    with pytest.raises(ImageError, match=r"several splits: choose one of .*:test, .*:train"):
        read_images(tmp_path)
    (folder / "t10k-labels-idx1-ubyte.gz").unlink()
    (folder / "t10k-labels-idx1-ubyte.gz").symlink_to("/etc/hostname")
    with pytest.raises(ImageError, match="is a symbolic link out of"):
        read_images(f"{tmp_path}:test")
