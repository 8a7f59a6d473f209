"""Reads WebDataset: tar files in which members of one sample follow one another and share a name.

The name of a sample ends at the first dot: `000001.jpg`, `000001.cls` and `000001.json` are one. Labels are
whole numbers or texts: the member `.cls`, else a field of `.json`, else `.txt`.
"""

from __future__ import annotations

import json
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from producer.images.archives.members import Arranged
from producer.images.pictures.entry import is_litter, is_picture
from producer.images.pieces.numbering import number_texts
from producer.images.preprocessing import NOT_PICTURES
from producer.images.stream import printable
from schema.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from producer.images.archives.members import Archive
    from producer.images.pieces.numbering import number_texts
from producer.images.preprocessing import Changes

NOTES = ("cls", "json", "txt")
"""Endings of members that may hold labels."""

LABELS = ("label", "cls", "class", "target", "y")
"""Fields of a .json that may hold the label, tried in turn."""

CLASS_NAMES = ("class_name", "class", "label_name", "name")
"""Fields of a .json that may hold the name of the class that .cls numbers."""

_FEWEST_CAPTIONS = 20  # texts that differ, from which on they may be captions


class _Sample(NamedTuple):
    """A picture: the number and name of its member, its label as text, and its class's name, if known."""

    member: int
    name: str
    label: str | None
    class_name: str | None


def is_note(parts: tuple[str, ...]) -> bool:
    """Return whether a member with these parts of its name may hold the label of a sample."""
    return bool(parts) and not is_litter(parts[-1]) and _ending(parts) in NOTES


def is_webdataset(file: Archive) -> bool:
    """Return whether members of ``file`` are in samples, so that a picture has a label next to it."""
    noted = {_key(file.members[number].parts) for number in file.notes}
    return any(is_picture(member.parts[-1]) and _key(member.parts) in noted for member in file.members)


def arrange_samples(name: str, files: Sequence[Archive], changes: Changes) -> list[Arranged]:
    """Return the pictures of each of ``files``, which are shards of one set, with labels of the whole set.

    Args:
        name: of the set, for messages.
        files: in the order of their rows, each listed with its notes.
        changes: counts members that are neither pictures nor labels, and receives remarks.

    Raises:
        ImageError: no pictures, two in a sample, or labels that are missing in some or cannot be used.
    """
    by_file = [_samples(file, changes) for file in files]
    samples = [sample for found in by_file for sample in found]
    if not samples:
        raise ImageError(f"{name} has no pictures: give tar files of samples as `000001.jpg`, `000001.cls`")
    labels, classes = _labels(name, samples, changes)
    starts = list(accumulate(map(len, by_file), initial=0))
    return [
        Arranged(
            [sample.member for sample in found],
            [sample.name for sample in found],
            None if labels is None else labels[start : start + len(found)],
            classes,
        )
        for found, start in zip(by_file, starts, strict=False)
    ]


def _pictures_of(file: Archive) -> list[int]:
    return [
        number
        for number, member in enumerate(file.members)
        if is_picture(member.parts[-1]) and not any(map(is_litter, member.parts))
    ]


def _samples(file: Archive, changes: Changes) -> list[_Sample]:
    pictures = _pictures_of(file)
    notes: dict[str, dict[str, int]] = {}
    for number in file.notes:
        parts = file.members[number].parts
        notes.setdefault(_key(parts), {})[_ending(parts)] = number
    known = {*pictures, *file.notes}
    for number, member in enumerate(file.members):
        if number not in known and not any(map(is_litter, member.parts)):
            changes.leave_out(printable("/".join(member.parts)), NOT_PICTURES)
    samples: list[_Sample] = []
    before: str | None = None
    for number in pictures:
        key = _key(file.members[number].parts)
        if key == before:
            raise ImageError(
                f"{file.name}/{printable(key)} has several pictures: write one per sample, or a tar per kind"
            )
        before = key
        label, class_name = _label_of(file, notes.get(key, {}))
        name = printable("/".join(file.members[number].parts))
        samples.append(_Sample(number, name, label, class_name))
    return samples


def _label_of(file: Archive, notes: dict[str, int]) -> tuple[str | None, str | None]:
    """Return the label that the members ``notes`` of a sample give, and the name of its class."""
    fields = _fields(file, notes["json"]) if "json" in notes else {}
    label = next((str(fields[key]) for key in LABELS if _is_label(fields.get(key))), None)
    if "cls" in notes or label is None:
        number = notes.get("cls", notes.get("txt"))
        label = label if number is None else _text(file, number)
    class_name = next((fields[key] for key in CLASS_NAMES if isinstance(fields.get(key), str)), None)
    return label, class_name if isinstance(class_name, str) else None


def _is_label(value: object) -> bool:
    return isinstance(value, int | str) and not isinstance(value, bool)


def _fields(file: Archive, number: int) -> dict[str, object]:
    try:
        found = json.loads(file.notes[number])
        if not isinstance(found, dict):
            raise TypeError
    except (ValueError, TypeError, RecursionError) as error:
        raise ImageError(f"{_shown(file, number)} is not a JSON object: write it again") from error
    return found


def _text(file: Archive, number: int) -> str:
    try:
        return file.notes[number].decode().strip()
    except UnicodeDecodeError as error:
        raise ImageError(f"{_shown(file, number)} is not UTF-8 text: write it again") from error


def _shown(file: Archive, number: int) -> str:
    return f"{file.name}/{printable('/'.join(file.members[number].parts))}"


def _labels(
    name: str, samples: list[_Sample], changes: Changes
) -> tuple[NDArray[np.int64] | None, tuple[str, ...] | None]:
    """Return the labels of all samples, if any, and the names of their classes, if known.

    Raises:
        ImageError: some are missing, or as `number_texts`.
    """
    texts = [sample.label for sample in samples]
    missing = next((row for row, text in enumerate(texts) if text is None), None)
    if missing is not None:
        if any(text is not None for text in texts):
            raise ImageError(f"{name} has no label for {samples[missing].name}: add or drop it")
        return None, None
    known = [text for text in texts if text is not None]
    different = set(known)
    is_text = not all(text.isascii() and text.isdigit() for text in different)
    if is_text and len(different) >= _FEWEST_CAPTIONS and 2 * len(different) > len(known):
        changes.remarks.append("texts that differ in most images are captions, and not read as labels")
        return None, None
    numbers, classes = number_texts(known, name)
    return numbers, _class_names(numbers, samples) if classes is None else classes


def _class_names(numbers: NDArray[np.int64], samples: list[_Sample]) -> tuple[str, ...] | None:
    """Return the names of classes 0, 1, ... if each number goes with one name of its own."""
    pairs = {(int(number), sample.class_name) for number, sample in zip(numbers, samples, strict=True)}
    names = dict(pairs)
    count = int(numbers.max()) + 1
    complete = [name for k in range(count) if (name := names.get(k))]
    if len(pairs) != count or len(complete) != count or len(set(complete)) != count:
        return None
    return tuple(printable(name) for name in complete)


def _key(parts: tuple[str, ...]) -> str:
    return "/".join([*parts[:-1], parts[-1].partition(".")[0]])


def _ending(parts: tuple[str, ...]) -> str:
    return parts[-1].partition(".")[2].lower()
