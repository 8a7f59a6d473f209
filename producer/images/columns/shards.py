"""Finds the Parquet files of a folder: splits, and the shards of each, none of which may be missing."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING

from producer.images.pictures.entry import is_litter
from producer.images.stream import printable, refuse_exit, translate_errors
from schema.errors import ImageError

if TYPE_CHECKING:
    from pathlib import Path

SUFFIX = ".parquet"

_NUMBERED = re.compile(r"(?P<split>.+?)-(?P<number>[0-9]{5})-of-(?P<total>[0-9]{5})(?:-[0-9a-f]{16})?")
_PLAIN = re.compile(r"(?P<split>.*?)[-_.]?[0-9]*")

MOST_OFFERED = 8
"""Largest number of splits in a message."""


def find_shards(folder: Path) -> dict[str, list[Path]]:
    """Return the Parquet files of ``folder``, or else of its folder `data`, by split, in their order.

    ``train-00000-of-00002.parquet`` is the first of two shards of the split ``train``; ``train.parquet`` and
    ``0000.parquet`` are a split ``train`` and one without a name.

    Raises:
        ImageError: a shard is missing, or a symbolic link out of the folder.
    """
    found = _parquet_files(folder, folder) or _parquet_files(folder / "data", folder)
    splits: dict[str, list[Path]] = defaultdict(list)
    for path in found:
        stem = path.name[: -len(SUFFIX)]
        named = _NUMBERED.fullmatch(stem) or _PLAIN.fullmatch(stem)
        splits[named["split"] if named else stem].append(path)
    for split, paths in splits.items():
        _check_complete(folder, split, paths)
    return dict(splits)


def choose_split(path: Path, splits: dict[str, list[Path]], part: str | None) -> list[Path]:
    """Return the files of the split ``part`` in ``splits``, or of the only one.

    Raises:
        ImageError: there is none called ``part``, or no part is named and there are several.
    """
    if part is not None and part in splits:
        return splits[part]
    if part is None and len(splits) == 1:
        return next(iter(splits.values()))
    offered = ", ".join(printable(f"{path}:{split}") for split in sorted(splits)[:MOST_OFFERED])
    more = ", ..." if len(splits) > MOST_OFFERED else ""
    problem = "has several splits" if part is None else f"has no split called {printable(part)!r}"
    raise ImageError(f"{printable(path)} {problem}: choose one of {offered}{more}")


def shard_remark(path: Path) -> str | None:
    """Return a remark if ``path`` is one of several shards by its name."""
    named = _NUMBERED.fullmatch(path.stem)
    if named is None or int(named["total"]) < 2:
        return None
    return f"shard {int(named['number']) + 1} of {int(named['total'])} only: give the folder for all of them"


def _parquet_files(folder: Path, root: Path) -> list[Path]:
    with translate_errors(folder):
        if not folder.is_dir():
            return []
        found = sorted(path for path in folder.iterdir() if path.name.lower().endswith(SUFFIX))
    found = [path for path in found if not is_litter(path.name)]
    for path in found:
        refuse_exit(path, root)
    return found


def _check_complete(folder: Path, split: str, paths: list[Path]) -> None:
    """Raise ImageError if a shard of ``split`` is missing by the numbers in their names."""
    named = [_NUMBERED.fullmatch(path.name[: -len(SUFFIX)]) for path in paths]
    totals = {None if each is None else int(each["total"]) for each in named}
    if totals == {None}:
        return
    name = printable(f"{folder}:{split}")
    (total, *others) = sorted(totals, key=lambda each: (each is None, each))
    numbers = sorted(int(each["number"]) for each in named if each is not None)
    if others or total is None:
        raise ImageError(f"{name} has shards of different sets (by their names): give each set its folder")
    missing = sorted(set(range(total)) - set(numbers))
    if missing or numbers != list(range(total)):
        lacks = f"lacks shard {missing[0]:05}-of-{total:05}" if missing else "has a shard twice"
        raise ImageError(f"{name} {lacks}: fetch all {total:,} shards, each once")
