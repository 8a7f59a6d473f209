"""Sources become sets of images: every format gives the same arrays; parts of a set."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

import producer
from producer.images.imageset import ImageSet
from producer.images.source import read_images
from schema.errors import ImageError, InputError, ParameterError
from tests import PATIENCE_S

ROOT = Path(producer.__file__).parents[1]
DATA = Path(os.environ.get("ANNEALQ_TEST_DATA", ROOT.parent / "shared" / "data"))
needs_data = pytest.mark.skipif(
    not (DATA / "mnist_test.npz").is_file(), reason="no MNIST in ../shared/data nor in ANNEALQ_TEST_DATA"
)

square_images = st.integers(1, 6).flatmap(
    lambda side: arrays.arrays(np.uint8, st.tuples(st.integers(1, 12), st.just(side), st.just(side)))
)


def save_idx(folder: Path, images: np.ndarray, labels: np.ndarray) -> Path:
    path = folder / "some-images-idx3-ubyte"
    path.write_bytes(b"\0\0\x08\x03" + np.array(images.shape, ">u4").tobytes() + images.tobytes())
    beside = folder / "some-labels-idx1-ubyte.gz"
    content = b"\0\0\x08\x01" + np.array(labels.shape, ">u4").tobytes() + labels.astype(np.uint8).tobytes()
    beside.write_bytes(gzip.compress(content))
    return path


def save_npz(folder: Path, images: np.ndarray, labels: np.ndarray) -> Path:
    np.savez_compressed(folder / "set.npz", images=images, labels=labels)
    return folder / "set.npz"


def save_csv(folder: Path, images: np.ndarray, labels: np.ndarray) -> Path:
    rows = np.hstack([labels[:, None], images.reshape(len(images), -1)])
    np.savetxt(folder / "set.csv", rows, fmt="%d", delimiter=",")
    return folder / "set.csv"


def save_folder(folder: Path, images: np.ndarray, labels: np.ndarray) -> Path:
    for row, (image, label) in enumerate(zip(images, labels, strict=True)):
        (folder / "set" / str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / "set" / str(label) / f"{row:05}.png")
    return folder / "set"


@given(images=square_images)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.parametrize("save", [save_idx, save_npz, save_csv])
def test_every_format_gives_the_images_back(tmp_path: Path, save, images) -> None:
    labels = np.arange(len(images)) % 3
    found = read_images(str(save(tmp_path, images, labels)))
    np.testing.assert_array_equal(found.images, images)
    np.testing.assert_array_equal(found.labels, labels)
    assert (found.images.dtype, found.labels.dtype) == (np.uint8, np.int64)
    assert found.images.flags.c_contiguous
    assert found.images.flags.writeable


def test_a_folder_gives_back_what_other_formats_give(tmp_path: Path) -> None:
    images = np.random.default_rng(5).integers(0, 256, (9, 4, 4), np.uint8)
    labels = np.repeat([0, 1, 2], 3)
    folder = read_images(save_folder(tmp_path, images, labels))
    table = read_images(save_csv(tmp_path, images, labels))
    np.testing.assert_array_equal(folder.images, table.images)
    np.testing.assert_array_equal(folder.labels, table.labels)


def test_npy_is_unlabelled_and_takes_labels_from_every_kind_of_file(tmp_path: Path) -> None:
    images = np.random.default_rng(6).integers(0, 256, (4, 3, 5), np.uint8)
    np.save(tmp_path / "i.npy", images)
    assert read_images(str(tmp_path / "i.npy")).labels is None

    np.save(tmp_path / "l.npy", [3, 1, 2, 0])
    np.savez(tmp_path / "l.npz", labels=[3, 1, 2, 0])
    (tmp_path / "l.csv").write_text("label\n3\n1\n2\n0\n")
    (tmp_path / "l.txt").write_text("3\n1\n2\n0\n")
    (tmp_path / "l-idx1-ubyte").write_bytes(b"\0\0\x08\x01\0\0\0\x04\x03\x01\x02\0")
    for name in ("l.npy", "l.npz", "l.csv", "l.txt", "l-idx1-ubyte"):
        found = read_images(str(tmp_path / "i.npy"), tmp_path / name)
        np.testing.assert_array_equal(found.labels, [3, 1, 2, 0], err_msg=name)


def test_given_labels_replace_the_sources_own(tmp_path: Path) -> None:
    path = save_npz(tmp_path, np.zeros((2, 2, 2), np.uint8), np.array([0, 0]))
    np.save(tmp_path / "l.npy", [4, 5])
    np.testing.assert_array_equal(read_images(path, tmp_path / "l.npy").labels, [4, 5])


def test_one_picture_is_a_set_of_one(tmp_path: Path) -> None:
    Image.fromarray(np.full((3, 4), 7, np.uint8)).save(tmp_path / "seven.png")
    found = read_images(str(tmp_path / "seven.png"))
    assert found.images.tolist() == np.full((1, 3, 4), 7).tolist()
    assert found.sources == ("seven.png",)


@pytest.mark.parametrize("name", ["images", "images.bin", "images.data"])
def test_a_name_that_tells_nothing_is_settled_by_the_first_bytes(tmp_path: Path, name: str) -> None:
    images = np.arange(8, dtype=np.uint8).reshape(2, 2, 2)
    with (tmp_path / name).open("wb") as file:
        np.save(file, images)
    np.testing.assert_array_equal(read_images(tmp_path / name).images, images)
    with (tmp_path / name).open("wb") as file:
        np.savez(file, images=images)
    np.testing.assert_array_equal(read_images(tmp_path / name).images, images)
    save_idx(tmp_path, images, np.zeros(2)).rename(tmp_path / name)
    np.testing.assert_array_equal(read_images(tmp_path / name).images, images)


def test_names_for_people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save_folder(tmp_path, np.zeros((1, 2, 2), np.uint8), np.array([0]))
    np.savez(tmp_path / "two.npz", x_test=np.zeros((1, 2, 2)), x_train=np.zeros((1, 2, 2)))
    assert read_images(folder).name == "set"
    assert read_images(f"{tmp_path}/two.npz:test").name == "two.npz:test"
    monkeypatch.chdir(folder)
    assert read_images(".").name == "set"
    monkeypatch.chdir(folder / "0")
    assert read_images("..").name == "set"


# digits


def test_digits_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sklearn", reason="needs annealq[datasets]")
    monkeypatch.chdir(tmp_path)
    found = read_images("digits")
    assert found.images.shape == (1797, 8, 8)
    assert (found.images.min(), found.images.max()) == (0, 16)
    assert found.classes == tuple("0123456789")
    assert np.bincount(found.labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    # The first image as scikit-learn's own documentation prints it.
    assert found.images[0, 0].tolist() == [0, 0, 5, 13, 9, 1, 0, 0]


def test_digits_are_those_that_scikit_learn_loads() -> None:
    datasets = pytest.importorskip("sklearn.datasets", reason="needs annealq[datasets]")
    expected, found = datasets.load_digits(), read_images("sklearn:digits")
    assert (found.images == expected.images).all()
    assert (found.labels == expected.target).all()


def test_digits_beside_a_folder_of_that_name_must_be_told_apart(tmp_path: Path, monkeypatch) -> None:
    pytest.importorskip("sklearn", reason="needs annealq[datasets]")
    save_folder(tmp_path, np.zeros((1, 2, 2), np.uint8), np.array([0])).rename(tmp_path / "digits")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        ImageError, match=r"\./digits for the file or folder, sklearn:digits for the data set"
    ):
        read_images("digits")
    assert read_images("./digits").images.shape == (1, 2, 2)
    assert len(read_images("sklearn:digits").images) == 1797


def test_digits_without_scikit_learn_says_what_to_install(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ImageError, match=r"pip install 'annealq\[datasets\]'"):
        read_images("digits")


def test_digits_take_no_other_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ImageError, match="labels of its own"):
        read_images("digits", "labels.npy")


# parts


def made() -> ImageSet:
    return ImageSet(
        name="made",
        images=np.arange(5, dtype=np.uint8).reshape(5, 1, 1),
        labels=np.array([0, 1, 2, 1, 0]),
        classes=("cat", "dog", "1"),
        sources=("a", "b", "c", "d", "e"),
    )


def test_limit_takes_the_first() -> None:
    found = made().limit(2)
    assert found.images.ravel().tolist() == [0, 1]
    assert (found.labels.tolist(), found.sources) == ([0, 1], ("a", "b"))
    assert len(made().limit(99).images) == 5


def test_skip_leaves_the_others() -> None:
    assert made().skip(3).images.ravel().tolist() == made().images.ravel().tolist()[3:]
    assert len(made().skip(0).images) == 5
    for n in (5, -1):
        with pytest.raises(ParameterError, match="cannot be skipped"):
            made().skip(n)


@pytest.mark.parametrize("n", [0, -3])
def test_a_limit_below_one_is_refused(n: int) -> None:
    with pytest.raises(ParameterError, match="1 or more"):
        made().limit(n)


@pytest.mark.parametrize(
    ("classes", "rows"),
    [
        (["dog"], [1, 3]),
        (["cat", " dog "], [0, 1, 3, 4]),
        (["0"], [0, 4]),
        ([0, 2], [0, 2, 4]),
        (["1"], [2]),  # a name goes before a number
    ],
)
def test_only_keeps_classes_by_name_or_number(classes: list[str | int], rows: list[int]) -> None:
    found = made().only(classes)
    assert found.images.ravel().tolist() == rows
    assert found.labels.tolist() == made().labels[rows].tolist()
    assert found.sources == tuple("abcde"[row] for row in rows)
    assert found.classes == made().classes


@pytest.mark.parametrize("wrong", ["bird", "3", "-1", "9" * 5000, "", "²"])
def test_only_refuses_a_class_that_no_image_has(wrong: str) -> None:
    with pytest.raises(ImageError, match=r"choose among cat, dog, 1$"):
        made().only(["cat", wrong])


def test_only_needs_labels_and_a_class(tmp_path: Path) -> None:
    np.save(tmp_path / "i.npy", np.zeros((1, 2, 2)))
    with pytest.raises(ImageError, match=r"i\.npy has no labels"):
        read_images(tmp_path / "i.npy").only(["0"])
    with pytest.raises(ImageError, match="needs a class"):
        made().only([])


# paths that lead nowhere


def test_nothing_named() -> None:
    with pytest.raises(ImageError, match="no images were named"):
        read_images("")


@pytest.mark.parametrize(
    "name", ["none", "none.npz", "none.npz:test", "none.npy", "none.csv", "none.png", "x-idx3"]
)
def test_missing_files(tmp_path: Path, name: str) -> None:
    with pytest.raises(ImageError, match=r"(none|x-idx3).*does not exist"):
        read_images(str(tmp_path / name))


def test_a_missing_file_of_labels_is_named(tmp_path: Path) -> None:
    np.save(tmp_path / "i.npy", np.zeros((1, 2, 2)))
    with pytest.raises(ImageError, match=r"l\.npy does not exist"):
        read_images(tmp_path / "i.npy", tmp_path / "l.npy")


@pytest.mark.parametrize("name", ["l", "l.txt", "l.csv"])
def test_a_folder_is_no_file_of_labels(tmp_path: Path, name: str) -> None:
    np.save(tmp_path / "i.npy", np.zeros((1, 2, 2)))
    (tmp_path / name).mkdir()
    with pytest.raises(ImageError, match=rf"{name} .*folder"):
        read_images(tmp_path / "i.npy", tmp_path / name)


def test_a_picture_is_no_file_of_labels(tmp_path: Path) -> None:
    np.save(tmp_path / "i.npy", np.zeros((1, 2, 2)))
    Image.fromarray(np.zeros((2, 2), np.uint8)).save(tmp_path / "l.png")
    with pytest.raises(ImageError, match="a picture, which holds no labels"):
        read_images(tmp_path / "i.npy", tmp_path / "l.png")


@pytest.mark.parametrize("name", ["loop", "loop.npy", "loop.csv", "loop.png"])
def test_symbolic_links_in_a_circle(tmp_path: Path, name: str) -> None:
    (tmp_path / name).symlink_to(tmp_path / name)
    with pytest.raises(ImageError, match=rf"{name} cannot be read"):
        read_images(tmp_path / name)


@pytest.mark.parametrize("name", ["pipe.npy", "pipe.csv", "pipe.png", "pipe-idx3-ubyte", "pipe.npz", "pipe"])
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(ImageError, match="is not a regular file"):
        read_images(tmp_path / name)


def test_a_null_byte_in_a_name() -> None:
    with pytest.raises(ImageError, match="null byte"):
        read_images("a\0b.npy")


def test_names_are_fit_for_a_terminal(tmp_path: Path) -> None:
    with pytest.raises(ImageError) as caught:
        read_images(str(tmp_path / "\x1b[31mred\udc80.npy"))
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PN"])
def test_a_file_in_no_known_format(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "what").write_bytes(content)
    with pytest.raises(ImageError, match="what has an unknown format"):
        read_images(tmp_path / "what")


CLOSED = """
import os, sys
from producer.images.source import read_images
from schema.errors import ImageError
if os.geteuid() == 0:
    os.setuid(65534)  # root may read everything
try:
    read_images(sys.argv[1])
except ImageError as error:
    print(error)
"""


@pytest.mark.parametrize("name", ["closed.npy", "closed"])
def test_a_file_or_folder_that_is_closed_to_us(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if path.suffix:
        np.save(path, np.zeros((1, 2, 2)))
    else:
        path.mkdir()
    path.chmod(0)
    command = [sys.executable, "-c", CLOSED, str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=PATIENCE_S)
    path.chmod(0o700)
    assert f"{name} is not readable: change its permissions" in done.stdout


# the command line's start, and speed


def test_importing_loads_neither_pillow_nor_scikit_learn() -> None:
    code = "import sys, producer.images; print({'PIL', 'sklearn', 'scipy', 'torch'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=PATIENCE_S
    )
    assert done.stdout.strip() == "set()"


def test_errors_are_usage_errors() -> None:
    assert issubclass(ImageError, InputError)
    assert ImageError("x").exit_code == 2


@needs_data
def test_mnist_is_whole_and_quickly_read() -> None:
    path = DATA / "mnist_test.npz"
    reading = min(_seconds(lambda: read_images(str(path))) for _ in range(3))
    assert reading < 5 * min(_seconds(lambda: dict(np.load(path))) for _ in range(3))
    found = read_images(str(path))
    assert found.images.shape == (10_000, 28, 28)
    assert np.bincount(found.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


def _seconds(read: Callable[[], object]) -> float:
    began = time.process_time()
    read()
    return time.process_time() - began


@needs_data
def test_mnist_in_two_splits_must_be_chosen() -> None:
    with pytest.raises(
        ImageError, match=r"choose one of \S+mnist_small\.npz:test, \S+mnist_small\.npz:train$"
    ):
        read_images(str(DATA / "mnist_small.npz"))
    assert np.bincount(read_images(f"{DATA}/mnist_small.npz:test").labels).tolist() == [100] * 10
    assert np.bincount(read_images(f"{DATA}/mnist_small.npz:train").labels).tolist() == [500] * 10
