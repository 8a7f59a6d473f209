"""Reads .npz: picks the arrays of images and labels by their names, then reads only those.

Known names, in any case: images, labels; x, y; and with a split such as train or test: test_images and
test_labels, images_test and labels_test, x_test and y_test. Labels may also be called label, target or
targets. If a file has only one array, its name does not matter. If that leaves a choice, ``file.npz:test``
names the split and ``file.npz:images`` an array.
"""

from __future__ import annotations

import zipfile
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from producer.images.arrays.npy import read_header, read_texts
from producer.images.limits import DEFLATE_RATIO, MAX_LABEL
from producer.images.pieces.stored import StoredArray
from producer.images.stream import PACKINGS, Stream, open_archive, printable
from schema.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from producer.images.pieces.allowance import Allowance

IMAGES = ("images", "x")
LABELS = ("labels", "y")
"""Names of arrays; images go with labels, x with y."""

OTHER_LABELS = (*LABELS, "label", "target", "targets")
"""Names under which labels are searched for next, with the same split."""

MOST_OFFERED = 8
"""Largest number of arrays in a message."""


CLASSES = ("classes", "class_names", "label_names")
"""Names of an array of texts, the names of classes 0, 1, ..."""


class Arrays(NamedTuple):
    """The images of an .npz file.

    Attributes:
        images: the array of them.
        labels: the array of their labels, or None.
        other_name: the name of that array, if it is not the partner of the name of the images.
        classes: names of the classes, or None.
    """

    images: StoredArray
    labels: StoredArray | None
    other_name: str | None
    classes: tuple[str, ...] | None


def open_npz(path: Path, part: str | None, allowance: Allowance | None = None) -> Arrays:
    """Return the images in ``path`` and its labels, if any, within ``allowance``.

    ``part`` names a split or an array of images.

    Raises:
        ImageError: not an intact .npz, none or several sets of images, or an array that cannot be used.
    """
    with open_archive(path) as archive:
        arrays = _arrays(archive)
    named = next((arrays[name] for name in list(arrays) if name.lower() in CLASSES), None)
    classes = None if named is None else _class_names(path, named)
    if classes is not None:
        arrays = {name: info for name, info in arrays.items() if name.lower() not in CLASSES}
    images = _pick(path, arrays, part, IMAGES)
    labels = _labels_of(images, arrays)
    pixels = _open(path, arrays[images], allowance)
    if labels is not None:
        return Arrays(pixels, _open(path, arrays[labels], allowance), None, classes)
    other = _other_labels(images, arrays)
    values = None if other is None else _open(path, arrays[other], allowance)
    if values is None or values.shape[:1] != pixels.shape[:1]:
        return Arrays(pixels, None, None, classes)
    return Arrays(pixels, values, other, classes)


def open_npz_labels(path: Path, part: str | None, allowance: Allowance | None = None) -> StoredArray:
    """Return the labels in the file of labels ``path``; ``part`` names a split or an array.

    Raises:
        ImageError: not an intact .npz, none or several arrays of labels, or an array that cannot be used.
    """
    with open_archive(path) as archive:
        arrays = _arrays(archive)
    return _open(path, arrays[_pick(path, arrays, part, LABELS)], allowance)


def _class_names(path: Path, info: zipfile.ZipInfo) -> tuple[str, ...] | None:
    """Return the texts of an array; None if it holds something else; raise ImageError if two are equal."""
    with _open_member(path, info) as stream:
        texts = read_texts(stream)
    if texts is None:
        return None
    names = tuple(printable(text.strip()) for text in texts)
    if not names or "" in names or len(set(names)) < len(names) or len(names) > MAX_LABEL + 1:
        raise ImageError(
            f"{printable(path)}:{printable(info.filename)} has names of classes that are empty or equal: "
            "name each class once"
        )
    return names


def _arrays(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    members = archive.infolist()
    return {info.filename.removesuffix(".npy"): info for info in members if info.filename.endswith(".npy")}


def _pick(path: Path, arrays: Iterable[str], part: str | None, words: tuple[str, ...]) -> str:
    """Return the name of the array to read; raise ImageError if there is none, or several."""
    names = list(arrays)
    choices = _by_split(names, words)
    if part is not None:
        if part in choices:
            return choices[part]
        if part in names:
            return part
        raise ImageError(
            f"{printable(path)} has no {words[0]} called {printable(part)!r}: {_offer(path, choices, names)}"
        )
    candidates = list(choices.values()) or names
    if len(candidates) == 1:
        return candidates[0]
    problem = f"has several sets of {words[0]}" if choices else f"has no array called {' or '.join(words)}"
    raise ImageError(f"{printable(path)} {problem}: {_offer(path, choices, names)}")


def _by_split(names: list[str], words: tuple[str, ...]) -> dict[str, str]:
    """Map the split, else the own name, of each array whose name contains one of ``words`` to its name."""
    choices: dict[str, str] = {}
    for word in words:
        for name in names:
            split = _split(name, word)
            if split is not None:
                choices[split if split and split not in choices else name] = name
    return choices


def _split(name: str, word: str) -> str | None:
    """Return ``test`` for test_images or images_test, an empty text for images, None for other names."""
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


def _other_labels(images: str, arrays: Iterable[str]) -> str | None:
    """Return the only array that is called like labels and has the split of the array ``images``, or None."""
    split = next((found for word in IMAGES if (found := _split(images, word)) is not None), "")
    others = [name for name in arrays if any(_split(name, word) == split for word in OTHER_LABELS)]
    return others[0] if len(others) == 1 and others[0] != images else None


def _offer(path: Path, choices: Iterable[str], names: list[str]) -> str:
    available = sorted(choices) or sorted(names)
    if not available:
        return "it holds no arrays, save it with numpy.savez(path, images=..., labels=...)"
    offered = ", ".join(printable(f"{path}:{choice}") for choice in available[:MOST_OFFERED])
    return f"choose one of {offered}{', ...' if len(available) > MOST_OFFERED else ''}"


def _open(path: Path, info: zipfile.ZipInfo, allowance: Allowance | None) -> StoredArray:
    announce = None if allowance is None else allowance.values
    return StoredArray(partial(_open_member, path, info), read_header, announce)


@contextmanager
def _open_member(path: Path, info: zipfile.ZipInfo) -> Iterator[Stream]:
    name = printable(f"{path}:{info.filename}")
    if info.compress_type not in PACKINGS:
        raise ImageError(f"{name} has an unknown compression: save it with numpy.savez or savez_compressed")
    with open_archive(path) as archive:
        try:
            member = archive.open(info)
        except (NotImplementedError, RuntimeError) as error:
            raise ImageError(f"{name} cannot be unpacked ({error}): save it with numpy.savez") from error
        with member:
            most = min(info.file_size, info.compress_size * DEFLATE_RATIO)
            yield Stream(member, name, most)
