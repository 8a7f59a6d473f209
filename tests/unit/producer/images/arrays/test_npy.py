"""NumPy's files: those of numpy are read, hostile ones are refused before they cost memory."""

from __future__ import annotations

import io
import os
import pickle
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from producer.images.arrays.npy import open_npy
from producer.images.source import read_images
from schema.errors import ImageError
from tests.conftest import data_file

IMAGES = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
OTHER = IMAGES[::-1]


def npy(array: np.ndarray, version: tuple[int, int] = (1, 0)) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version, allow_pickle=True)
    return file.getvalue()


def header(text: str, version: int = 1) -> bytes:
    size = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + size + text.encode()


def shaped(shape: str, descr: str = "'|u1'") -> bytes:
    return header(f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}\n")


class Trap:
    """Unpickled, it leaves a folder behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@given(
    array=st.sampled_from(["u1", "<i2", ">i8", "<f2", ">f4", "<f8", "?"]).flatmap(
        lambda dtype: arrays.arrays(np.dtype(dtype), arrays.array_shapes(max_dims=4, max_side=5))
    ),
    fortran=st.booleans(),
    version=st.sampled_from([(1, 0), (2, 0), (3, 0)]),
)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_numpy_writes_is_read(tmp_path: Path, array, fortran: bool, version: tuple[int, int]) -> None:
    (tmp_path / "a.npy").write_bytes(npy(np.asfortranarray(array) if fortran else array, version))
    found = open_npy(tmp_path / "a.npy").whole()
    np.testing.assert_array_equal(found, array)
    assert found.dtype == array.dtype


def test_fortran_order_is_turned_to_c(tmp_path: Path) -> None:
    np.save(tmp_path / "f.npy", np.asfortranarray(IMAGES))
    found = read_images(tmp_path / "f.npy").images
    np.testing.assert_array_equal(found, IMAGES)
    assert found.flags.c_contiguous


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_pickles_are_named_and_never_opened(tmp_path: Path, suffix: str) -> None:
    path, sprung = tmp_path / f"trap{suffix}", tmp_path / "sprung"
    trap = np.array([Trap(sprung)], dtype=object)
    if suffix == ".npy":
        np.save(path, trap, allow_pickle=True)
    else:
        np.savez(path, images=trap)
    with pytest.raises(ImageError, match=r"trap\.np.*is pickled.*never read: save it with numpy\.save"):
        read_images(path)
    assert not sprung.exists()


def test_a_bare_pickle_is_named_too(tmp_path: Path) -> None:
    (tmp_path / "bare.npy").write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    with pytest.raises(ImageError, match=r"bare\.npy is pickled"):
        read_images(tmp_path / "bare.npy")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is truncated or empty"),
        (b"\x93NUM", "is truncated or empty"),
        (b"hello, world", "wrong magic"),
        (b"\x93NUMPY\x01\x00\x50\x00{", "is truncated or empty"),
        (header("{}", 2)[:6] + b"\x09\x00" + bytes(4), r"version 9 .* unsupported"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\x7f", "header of 2,147,483,647 bytes, unsupported"),
        (header("rubbish\n"), "damaged .npy header"),
        (header("[1, 2]\n"), "damaged .npy header"),
        (header("{'descr': '|u1'}\n"), "damaged .npy header"),
        (header("(" * 9000), "damaged .npy header"),
        (header("-" * 9000 + "1"), "damaged .npy header"),
        (header("__import__('os')\n"), "damaged .npy header"),
        (header("\x00\n"), "damaged .npy header"),
        (shaped("(-1, 2, 2)"), "damaged .npy header"),
        (shaped("(True, 2, 2)"), "damaged .npy header"),
        (shaped("(1.0, 2)"), "damaged .npy header"),
        (shaped("[1, 2, 2]"), "damaged .npy header"),
        (shaped("(9" + "9" * 4000 + ", 2, 2)"), "damaged .npy header"),
        (shaped("(1, 2, 2)", "'<f3'"), "damaged .npy header"),
        (shaped("(1,) * 3"), "damaged .npy header"),
        (shaped("(" + "1, " * 2000 + ")"), "has 2,000 dimensions"),
        (shaped("(1, 2, 2)", "'|O'"), "is pickled"),
        (shaped("(1, 2, 2)", "[('a', '|O')]"), "is pickled"),
        (shaped("(1, 2, 2)", "[('a', '<f4')]"), "not real numbers"),
        (shaped("(1, 2, 2)", "'<c8'"), "not real numbers"),
        (shaped("(1, 2, 2)", "'<M8[s]'"), "not real numbers"),
        (shaped("(1, 2, 2)", "'<U9'"), "holds text: number the classes"),
        (shaped("(1, 2, 2)", "'|u999999999'"), "not real numbers"),
        (npy(IMAGES)[:-1], r"is truncated \(it announces 2 x 3 x 4 values, 24 bytes, and can hold 23"),
        (npy(IMAGES) + b"\0", "has bytes after the 24 bytes"),
        (npy(IMAGES) + npy(IMAGES), "has bytes after the 24 bytes"),
        (npy(np.zeros((0, 2, 2))), "holds no images"),
    ],
)
def test_damaged_npy(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "bad.npy").write_bytes(content)
    with pytest.raises(ImageError, match=rf"bad\.npy .*{message}"):
        read_images(tmp_path / "bad.npy")


@pytest.mark.parametrize(
    ("shape", "descr"),
    [
        ("(99999999, 9999, 9999)", "'<f8'"),
        ("(50000, 200, 200)", "'|u1'"),
        ("(2000000000, 0, 2000000000)", "'|u1'"),
        ("(9223372036854775807, 9223372036854775807, 0)", "'<f8'"),
    ],
)
def test_absurd_sizes_cost_no_memory(tmp_path: Path, shape: str, descr: str) -> None:
    (tmp_path / "huge.npy").write_bytes(shaped(shape, descr) + bytes(100))
    with zipfile.ZipFile(tmp_path / "huge.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images.npy", shaped(shape, descr) + bytes(100))
    for name in ("huge.npy", "huge.npz"):
        tracemalloc.start()
        try:
            with pytest.raises(ImageError, match=r"huge\.np.*(more than|at most)"):
                read_images(tmp_path / name)
            assert tracemalloc.get_traced_memory()[1] < 2**20
        finally:
            tracemalloc.stop()


# .npz: which arrays


@pytest.mark.parametrize(
    "names",
    [
        ("images", "labels"),
        ("x", "y"),
        ("X", "y"),
        ("x_test", "y_test"),
        ("test_images", "test_labels"),
        ("images_val", "labels_val"),
        ("Images", "Labels"),
        ("X_train", "y_train"),
    ],
)
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_known_names(tmp_path: Path, names: tuple[str, str], save) -> None:
    save(tmp_path / "a.npz", **{names[0]: IMAGES, names[1]: [3, 1], "index": [8, 9]})
    found = read_images(tmp_path / "a.npz")
    np.testing.assert_array_equal(found.images, IMAGES)
    assert found.labels.tolist() == [3, 1]


def test_images_without_labels_and_one_array_of_any_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=IMAGES, y=[1])
    assert read_images(tmp_path / "a.npz").labels is None
    np.savez(tmp_path / "b.npz", IMAGES)
    np.testing.assert_array_equal(read_images(tmp_path / "b.npz").images, IMAGES)


def test_splits(tmp_path: Path) -> None:
    arrays = {"x_train": IMAGES, "y_train": [0, 1], "x_test": OTHER, "y_test": [2, 3]}
    np.savez(tmp_path / "a.npz", **arrays)
    path = tmp_path / "a.npz"
    np.testing.assert_array_equal(read_images(f"{path}:test").images, OTHER)
    assert read_images(f"{path}:train").labels.tolist() == [0, 1]
    np.testing.assert_array_equal(read_images(f"{path}:x_test").images, OTHER)
    for wrong in (path, f"{path}:val", f"{path}:"):
        with pytest.raises(ImageError, match=r"choose one of \S+a\.npz:test, \S+a\.npz:train$"):
            read_images(wrong)


def test_two_conventions_in_one_file_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, images=IMAGES, labels=[0, 1], x=OTHER, y=[2, 3])
    with pytest.raises(ImageError, match=r"several sets of images: choose one of \S+:images, \S+:x$"):
        read_images(path)
    assert read_images(f"{path}:x").labels.tolist() == [2, 3]
    assert read_images(f"{path}:images").labels.tolist() == [0, 1]


def test_unknown_names_are_offered(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, foo=IMAGES, bar=OTHER)
    with pytest.raises(
        ImageError, match=r"no array called images or x: choose one of \S+a\.npz:bar, \S+a\.npz:foo$"
    ):
        read_images(path)
    np.testing.assert_array_equal(read_images(f"{path}:foo").images, IMAGES)
    np.savez(path, **{f"a{number}": IMAGES for number in range(500)})
    with pytest.raises(ImageError, match=r", \.\.\.$") as caught:
        read_images(path)
    assert len(str(caught.value)) < 2000


def test_labels_from_a_split_of_another_npz(tmp_path: Path) -> None:
    np.save(tmp_path / "i.npy", IMAGES)
    np.savez(tmp_path / "l.npz", y_test=[4, 5], y_train=[6, 7], x_test=IMAGES)
    assert read_images(tmp_path / "i.npy", f"{tmp_path}/l.npz:train").labels.tolist() == [6, 7]
    with pytest.raises(ImageError, match="several sets of labels"):
        read_images(tmp_path / "i.npy", tmp_path / "l.npz")


def test_a_colon_in_a_name_that_is_there(tmp_path: Path) -> None:
    with (tmp_path / "a.npz:b.npz").open("wb") as file:
        np.savez(file, images=IMAGES)
    assert read_images(tmp_path / "a.npz:b.npz").images.shape == IMAGES.shape


# .npz: hostile archives


def archive(path: Path, content: bytes, packing: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", packing) as file:
        file.writestr("images.npy", content)
    return path


def test_no_archive_and_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(b"PK but no archive")
    with pytest.raises(ImageError, match=r"a\.npz is not an intact zip archive"):
        read_images(tmp_path / "a.npz")
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as file:
        file.writestr("notes.txt", "hello")
    with pytest.raises(ImageError, match=r"b\.npz .*holds no arrays"):
        read_images(tmp_path / "b.npz")


def test_a_truncated_archive(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=IMAGES)
    content = (tmp_path / "a.npz").read_bytes()
    for length in (0, 10, len(content) // 2, len(content) - 1):
        (tmp_path / "a.npz").write_bytes(content[:length])
        with pytest.raises(ImageError, match=r"a\.npz is not an intact zip archive"):
            read_images(tmp_path / "a.npz")


def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.npz", npy(IMAGES), zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    content[content.index(IMAGES.tobytes()) + 5] ^= 1
    path.write_bytes(content)
    with pytest.raises(ImageError, match=r"a\.npz is not an intact zip archive.*CRC"):
        read_images(path)


def test_a_zip_bomb_is_left_unread(tmp_path: Path) -> None:
    path = archive(tmp_path / "bomb.npz", npy(IMAGES) + bytes(200 * 2**20))
    tracemalloc.start()
    try:
        with pytest.raises(ImageError, match="has bytes after the 24 bytes"):
            read_images(path)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_a_forged_size_is_held_against_the_compressed_one(tmp_path: Path) -> None:
    path = archive(tmp_path / "forged.npz", shaped("(1, 30000, 30000)") + bytes(1000))
    content = bytearray(path.read_bytes())
    directory = content.index(b"PK\x01\x02")
    content[directory + 24 : directory + 28] = struct.pack("<I", 2**31)
    path.write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(ImageError, match=r"announces 1 x 30,000 x 30,000 values.* at most"):
            read_images(path)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("packing", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_packings_are_refused(tmp_path: Path, packing: int) -> None:
    with pytest.raises(ImageError, match=r"images\.npy has an unknown compression: save it with numpy"):
        read_images(archive(tmp_path / "a.npz", npy(IMAGES), packing))


def test_an_encrypted_member(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.npz", npy(IMAGES))
    content = bytearray(path.read_bytes())
    for start, offset in ((content.index(b"PK\x03\x04"), 6), (content.index(b"PK\x01\x02"), 8)):
        content[start + offset] |= 1
    path.write_bytes(content)
    with pytest.raises(ImageError, match=r"images\.npy cannot be unpacked .*encrypted"):
        read_images(path)


# names of classes


@pytest.mark.parametrize("split", ["train", "test"])
def test_colour_arrays_with_names_of_classes(split: str) -> None:
    path = data_file("eurosat_rgb.npz")
    read = read_images(f"{path}:{split}")
    with np.load(path, allow_pickle=False) as arrays:
        np.testing.assert_array_equal(read.images, arrays[f"x_{split}"])
        np.testing.assert_array_equal(read.labels, arrays[f"y_{split}"])
        assert read.classes == tuple(arrays["classes"])


@pytest.mark.parametrize(("name", "counts"), [("breastmnist", (624, 156)), ("pneumoniamnist", (4406, 624))])
def test_medical_pictures(name: str, counts: tuple[int, int]) -> None:
    for split, count in zip(("train", "test"), counts, strict=True):
        read = read_images(f"{data_file(f'{name}.npz')}:{split}")
        assert read.images.shape == (count, 28, 28)
        assert read.labels is not None
        assert len(read.labels) == count
        assert read.classes is not None
        assert len(read.classes) == 2


@pytest.mark.parametrize(
    "classes", [["cat", "dog"], np.array([b"cat", b"dog"]), np.array(["cat", "dog"], ">U5")]
)
def test_names_of_classes(tmp_path: Path, classes: object) -> None:
    np.savez(tmp_path / "a.npz", train_images=IMAGES, train_labels=[[1], [0]], class_names=classes)
    read = read_images(f"{tmp_path}/a.npz:train")
    assert read.labels is not None
    assert (read.labels.tolist(), read.classes) == ([1, 0], ("cat", "dog"))
    np.savez(tmp_path / "b.npz", pictures=IMAGES, classes=classes)
    assert read_images(tmp_path / "b.npz").classes == ("cat", "dog")
    (tmp_path / "l.txt").write_text("0\n2\n")
    with pytest.raises(ImageError, match=r"l\.txt has label 2, and .*b\.npz has 2 names of classes"):
        read_images(tmp_path / "b.npz", tmp_path / "l.txt")


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (["a", "a"], "names of classes that are empty or equal"),
        (["a", ""], "names of classes that are empty or equal"),
        (["a"], "has label 1, and .* has 1 name of classes: make them agree"),
        (["a", "b" * 2_000_000], "more than 2,097,152 letters of text"),
    ],
)
def test_names_of_classes_that_cannot_be_used(tmp_path: Path, classes: list[str], message: str) -> None:
    np.savez_compressed(tmp_path / "a.npz", images=IMAGES, labels=[1, 0], classes=classes)
    with pytest.raises(ImageError, match=message):
        read_images(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("descr", "shape"),
    [("'<U999999999999'", "(1,)"), ("'<U0'", "(9,)"), ("'<U4'", "(2,)"), ("'<U1'", "(9999999999999,)")],
)
def test_damaged_names_of_classes(tmp_path: Path, descr: str, shape: str) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("images.npy", npy(IMAGES))
        archive.writestr("classes.npy", shaped(shape, descr))
    with pytest.raises(ImageError, match=r"a\.npz"):
        read_images(tmp_path / "a.npz")


def test_pickled_names_of_classes_are_not_read(tmp_path: Path) -> None:
    trap = np.array([Trap(tmp_path / "sprung")], dtype=object)
    np.savez(tmp_path / "a.npz", images=IMAGES, labels=[0, 0], classes=trap)
    assert read_images(tmp_path / "a.npz").classes is None
    assert not (tmp_path / "sprung").exists()
