"""Sources that are read in pieces: the same images as read at once, in bounded memory."""

from __future__ import annotations

import gzip
import io
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from producer.images.pieces import collector, stored
from producer.images.pieces.allowance import Allowance
from producer.images.preprocessing import Preprocessing
from producer.images.source import read_images
from schema.codecs import pieces
from schema.errors import DiskFull, ImageError

RANDOM = np.random.default_rng(0)
GREY = RANDOM.integers(0, 256, (29, 7, 5), np.uint8)
LABELS = RANDOM.integers(0, 10, len(GREY))
SHARES = RANDOM.random((29, 7, 5)).astype(np.float32)
ARRAYS = {
    "uint8": GREY,
    "bool": GREY > 127,
    "big-endian": GREY.astype(">i4"),
    "shares": SHARES,
    "half": SHARES.astype(np.float16),
    "0 to 255": SHARES.astype(np.float64) * 255,
    "first above 1 in the last image": np.concatenate([SHARES[:-1], SHARES[-1:] * 200]),
    "colour": RANDOM.integers(0, 256, (29, 7, 5, 3), np.uint8),
    "coloured shares": RANDOM.random((29, 7, 5, 3)),
    "one channel": GREY[..., np.newaxis],
    "one image": GREY[0],
    "fortran": np.asfortranarray(GREY),
}


def npz(path: Path, array: np.ndarray) -> None:
    labels = {} if array.ndim == 2 else {"labels": LABELS}
    np.savez_compressed(path, images=array, **labels)


def pictures(path: Path, _array: np.ndarray) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for k, image in enumerate(GREY):
            file = io.BytesIO()
            Image.fromarray(image).save(file, "PNG")
            archive.writestr(f"{LABELS[k]}/{k}.png", file.getvalue())


def idx(path: Path, _array: np.ndarray) -> None:
    path.write_bytes(gzip.compress(struct.pack(">HBB3I", 0, 8, 3, *GREY.shape) + GREY.tobytes()))


SOURCES: list[tuple[str, Callable[[Path, np.ndarray], None], np.ndarray]] = [
    *((f"{name.replace(' ', '-')}.npz", npz, array) for name, array in ARRAYS.items()),
    *((f"{name.replace(' ', '-')}.npy", np.save, array) for name, array in ARRAYS.items()),
    ("pictures.zip", pictures, GREY),
    ("images-idx3-ubyte.gz", idx, GREY),
]


@pytest.mark.parametrize(("name", "write", "array"), SOURCES, ids=[name for name, _, _ in SOURCES])
def test_pieces_make_the_same_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, write: Callable, array: np.ndarray
) -> None:
    write(tmp_path / name, array)
    prepared = Preprocessing(size=(6, 4), invert=True)
    whole, resized = read_images(tmp_path / name), read_images(tmp_path / name, preprocessing=prepared)
    monkeypatch.setattr(stored, "CHUNK_BYTES", 64)  # images have 35 pixels: pieces end inside of them
    monkeypatch.setattr(pieces, "PIECE_BYTES", 64)
    monkeypatch.setattr(collector, "IN_MEMORY_BYTES", 0)
    in_pieces = read_images(tmp_path / name)
    assert not in_pieces.images.flags.writeable  # it is in a file
    for one, other in (
        (whole, in_pieces),
        (resized, read_images(tmp_path / name, preprocessing=prepared)),
        (whole.limit(5), in_pieces.limit(5)),
        (whole.sample(3, seed=1), in_pieces.sample(3, seed=1)),
        (whole.scalable().scaled(16), in_pieces.scalable().scaled(16)),
    ):
        np.testing.assert_array_equal(one.images, other.images)
        assert (one.digest(), one.notes, one.sources) == (other.digest(), other.notes, other.sources)
        assert one.brightest() == other.brightest()
    if whole.labels is not None:
        np.testing.assert_array_equal(whole.labels, in_pieces.labels)
        np.testing.assert_array_equal(whole.only(["3"]).images, in_pieces.only(["3"]).images)


FULL = Path("/dev/full")  # every write to it fails as on a full disk

# A child process, whose peak is its own. `ru_maxrss` begins with that of the process that started it.
CHILD = """
import re, sys
from pathlib import Path
from producer.images.source import read_images
from schema.errors import ImageError

def peak():
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])

read_images(sys.argv[1])
before = peak()
try:
    images = read_images(sys.argv[2])
    found = f"{images.digest()[:8]} {images.brightest()} {len(images.images)}"
except ImageError as error:
    found = f"refused: {error}"
print(peak() - before, found)
"""


def grown(small: Path, large: Path) -> tuple[int, str]:
    """Return by how many bytes reading ``large`` raises the peak after ``small``, and what was read."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(small), str(large)], capture_output=True, text=True, check=True
    )
    size, _, found = done.stdout.partition(" ")
    return int(size), found


Shape = tuple[int, ...]


def deflated(path: Path, dtype: str, shape: Shape, announced: Shape | None = None) -> Path:
    """Write an .npz of zeros, whose header announces ``announced`` instead of ``shape``."""
    text = str({"descr": dtype, "fortran_order": False, "shape": announced or shape}).encode()
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive,
        archive.open("images.npy", "w", force_zip64=True) as member,
    ):
        member.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text)
        for start in range(0, size, 2**22):
            member.write(bytes(min(2**22, size - start)))
    return path


def test_memory_does_not_grow_with_the_images(tmp_path: Path) -> None:
    small = deflated(tmp_path / "small.npz", "<f4", (10, 28, 28))
    large = deflated(tmp_path / "large.npz", "<f4", (40_000, 28, 28))
    assert large.stat().st_size < 500_000
    size, found = grown(small, large)  # 125 MB of floats, 31 MB of pixels
    assert found.split()[1:] == ["0", "40000"]
    assert size < 24 * 2**20


def test_a_bomb_is_refused_in_little_memory(tmp_path: Path) -> None:
    small = deflated(tmp_path / "small.npz", "|u1", (10, 28, 28))
    honest = deflated(tmp_path / "honest.npz", "|u1", (10, 28, 28), announced=(4_000_000, 28, 28))
    size, found = grown(small, honest)
    assert "refused" in found
    assert size < 16 * 2**20
    # Its header announces less than it holds: one byte more than announced is enough to refuse it.
    silent = deflated(tmp_path / "silent.npz", "|u1", (60_000, 28, 28), announced=(10, 28, 28))
    size, found = grown(small, silent)
    assert "has bytes after the 7,840 bytes" in found
    assert size < 16 * 2**20


def test_a_large_array_in_fortran_order_is_refused_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez(tmp_path / "a.npz", images=np.asfortranarray(GREY))
    monkeypatch.setattr(stored, "MAX_FORTRAN_BYTES", GREY.nbytes)
    assert len(read_images(tmp_path / "a.npz").images) == 29
    monkeypatch.setattr(stored, "MAX_FORTRAN_BYTES", GREY.nbytes - 1)
    with pytest.raises(ImageError, match=r"Fortran order.*save numpy\.ascontiguousarray\(array\)"):
        read_images(tmp_path / "a.npz")


def test_a_full_temporary_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "a.npy", np.zeros((100, 28, 28), np.uint8))
    monkeypatch.setattr(collector, "IN_MEMORY_BYTES", 0)
    monkeypatch.setattr("tempfile.TemporaryFile", lambda **_: FULL.open("wb", buffering=0))
    with pytest.raises(DiskFull, match=r"^disk full: /\S*: free some space there, or set TMPDIR"):
        read_images(tmp_path / "a.npy")


def test_an_allowance_is_asked_before_anything_is_decoded(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=GREY.astype(np.float64), labels=LABELS)
    pictures(tmp_path / "a.zip", GREY)
    asked: list[int] = []

    def refuse(count: int) -> None:
        raise ImageError(f"{count} are too many")

    for name in ("a.npz", "a.zip"):
        with pytest.raises(ImageError, match="29 are too many"):
            read_images(tmp_path / name, allowance=Allowance(expect=refuse))
        read_images(tmp_path / name, allowance=Allowance(reserve=asked.append))
    # In 2.5 copies doubles and labels; 24 bytes a label. Then names, pixels in colours, and their files.
    assert asked[:2] == [29 * 35 * 8 * 2.5, 29 * 24]
    assert 29 * 1_000 in asked[2:]
    with pytest.raises(ImageError, match=r"with it, 4 pictures of 140 pixels; a request may have 105"):
        read_images(tmp_path / "a.zip", allowance=Allowance(max_pixels=105))
