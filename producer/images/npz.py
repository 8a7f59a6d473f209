"""Read .npz: pick the arrays of images and labels by their names, then read only those.

Known names, in any case: images, labels; x, y; and with a split such as train or test: test_images and
test_labels, images_test and labels_test, x_test and y_test. A file's only array is taken whatever its name.
Where that leaves a choice, ``file.npz:test`` names the split and ``file.npz:images`` an array.
"""

from __future__ import annotations

import zipfile
from contextlib import contextmanager
from typing import TYPE_CHECKING

from producer.images.limits import DEFLATE_RATIO
from producer.images.npy import read_array
from producer.images.stream import Stream, open_regular, printable
from schema.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

IMAGES = ("images", "x")
LABELS = ("labels", "y")
"""Names of arrays; images go with labels, x with y."""

PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""What numpy.savez and numpy.savez_compressed write."""

MOST_OFFERED = 8
"""Arrays that a message names before it breaks off."""


def read_npz(path: Path, part: str | None) -> tuple[NDArray[np.generic], NDArray[np.generic] | None]:
    """Images and, when the file has them, labels; ``part`` names a split or an array of images.

    Raises:
        ImageError: no intact .npz, none or several sets of images, or an array that cannot be read.
    """
    with _open_archive(path) as archive:
        arrays = _arrays(archive)
        images = _pick(path, arrays, part, IMAGES)
        labels = _labels_of(images, arrays)
        pixels = _read(archive, arrays[images], path)
        return pixels, None if labels is None else _read(archive, arrays[labels], path)


def read_npz_labels(path: Path, part: str | None) -> NDArray[np.generic]:
    """The labels of a .npz that is given for its labels alone; ``part`` names a split or an array.

    Raises:
        ImageError: no intact .npz, none or several arrays of labels, or an array that cannot be read.
    """
    with _open_archive(path) as archive:
        arrays = _arrays(archive)
        return _read(archive, arrays[_pick(path, arrays, part, LABELS)], path)


@contextmanager
def _open_archive(path: Path) -> Iterator[zipfile.ZipFile]:
    with open_regular(path) as file:
        try:
            archive = zipfile.ZipFile(file)
        except (NotImplementedError, ValueError) as error:
            raise zipfile.BadZipFile(str(error)) from error
        with archive:
            yield archive


def _arrays(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    members = archive.infolist()
    return {info.filename.removesuffix(".npy"): info for info in members if info.filename.endswith(".npy")}


def _pick(path: Path, arrays: Iterable[str], part: str | None, words: tuple[str, ...]) -> str:
    """The name of the one array that is meant.

    Raises:
        ImageError: there is none, or there are several.
    """
    names = list(arrays)
    known = _by_split(names, words)
    if part is not None:
        if part in known:
            return known[part]
        if part in names:
            return part
        raise ImageError(
            f"{printable(path)}: has no {words[0]} called {printable(part)!r}; {_offer(path, known, names)}"
        )
    candidates = list(known.values()) or names
    if len(candidates) == 1:
        return candidates[0]
    problem = f"has several sets of {words[0]}" if known else f"has no array called {' or '.join(words)}"
    raise ImageError(f"{printable(path)}: {problem}; {_offer(path, known, names)}")


def _by_split(names: list[str], words: tuple[str, ...]) -> dict[str, str]:
    """What a user may call each array with one of these words in its name: its split, else its own name."""
    known: dict[str, str] = {}
    for word in words:
        for name in names:
            split = _split(name, word)
            if split is not None:
                known[split if split and split not in known else name] = name
    return known


def _split(name: str, word: str) -> str | None:
    """``test`` of test_images or images_test, an empty text of images, None of any other name."""
    lower = name.lower()
    if lower == word:
        return ""
    if lower.startswith(f"{word}_"):
        return lower.removeprefix(f"{word}_")
    return lower.removesuffix(f"_{word}") if lower.endswith(f"_{word}") else None


def _labels_of(images: str, arrays: Iterable[str]) -> str | None:
    for word, partner in zip(IMAGES, LABELS, strict=True):
        split = _split(images, word)
        if split is not None:
            return next((name for name in arrays if _split(name, partner) == split), None)
    return None


def _offer(path: Path, known: Iterable[str], names: list[str]) -> str:
    choices = sorted(known) or sorted(names)
    if not choices:
        return "it holds no arrays at all; save it with numpy.savez(path, images=..., labels=...)"
    offered = ", ".join(printable(f"{path}:{choice}") for choice in choices[:MOST_OFFERED])
    return f"choose one: {offered}{', ...' if len(choices) > MOST_OFFERED else ''}"


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> NDArray[np.generic]:
    name = printable(f"{path}:{info.filename}")
    if info.compress_type not in PACKINGS:
        raise ImageError(
            f"{name}: is packed in a way that is not read; save it with numpy.savez or savez_compressed"
        )
    try:
        member = archive.open(info)
    except (NotImplementedError, RuntimeError) as error:
        raise ImageError(f"{name}: cannot be unpacked ({error}); save it with numpy.savez") from error
    with member:
        most = min(info.file_size, info.compress_size * DEFLATE_RATIO)
        return read_array(Stream(member, name, most))
