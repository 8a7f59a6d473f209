"""Finds the files of a data set in a folder: splits, and the shards of each, none of which may be missing."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING

from producer.images.pictures.entry import is_litter
from producer.images.stream import printable, refuse_exit, translate_errors
from schema.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PARQUET = (".parquet",)
TAR = (".tar", ".tar.gz", ".tgz")
"""Suffixes of files that may be shards."""

MOST_OFFERED = 8
"""Largest number of splits in a message."""

_OF_TOTAL = re.compile(r"(?P<split>.+?)-(?P<number>[0-9]{5})-of-(?P<total>[0-9]{5})(?:-[0-9a-f]{16})?")
_NUMBERED = re.compile(r"(?P<split>.*?)[-_.]?(?P<number>[0-9]{1,9})")


def find_shards(folder: Path, suffixes: Sequence[str]) -> dict[str, list[Path]]:
    """Return the files of ``folder``, or else of its folder `data`, by split, in the order of their numbers.

    ``train-00000-of-00002.parquet`` is the first of two shards of the split ``train``, and so is
    ``train-000000.tar`` of any number of them; ``0000.parquet`` is one of a split without a name.

    Args:
        folder: to look into.
        suffixes: of the files.

    Raises:
        ImageError: a shard is missing, or a symbolic link out of the folder.
    """
    found = _files(folder, folder, suffixes) or _files(folder / "data", folder, suffixes)
    splits: dict[str, list[tuple[int, Path]]] = defaultdict(list)
    for path in found:
        stem = _stem(path, suffixes)
        named = _OF_TOTAL.fullmatch(stem) or _NUMBERED.fullmatch(stem)
        splits[named["split"] if named else stem].append((int(named["number"]) if named else 0, path))
    for split, numbered in splits.items():
        numbered.sort()
        _check_complete(printable(f"{folder}:{split}"), [path for _, path in numbered], suffixes)
    return {split: [path for _, path in numbered] for split, numbered in splits.items()}


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
    named = _OF_TOTAL.fullmatch(path.stem)
    if named is None or int(named["total"]) < 2:
        return None
    return f"shard {int(named['number']) + 1} of {int(named['total'])} only: give the folder for all of them"


def _files(folder: Path, root: Path, suffixes: Sequence[str]) -> list[Path]:
    with translate_errors(folder):
        if not folder.is_dir():
            return []
        found = sorted(path for path in folder.iterdir() if path.name.lower().endswith(tuple(suffixes)))
    found = [path for path in found if not is_litter(path.name)]
    for path in found:
        refuse_exit(path, root)
    return found


def _stem(path: Path, suffixes: Sequence[str]) -> str:
    suffix = next(each for each in suffixes if path.name.lower().endswith(each))
    return path.name[: -len(suffix)]


def _check_complete(name: str, paths: list[Path], suffixes: Sequence[str]) -> None:
    """Raise ImageError if a shard of the split ``name`` is missing by the numbers in the names of files."""
    stems = [_stem(path, suffixes) for path in paths]
    named = [_OF_TOTAL.fullmatch(stem) for stem in stems]
    totals = {None if each is None else int(each["total"]) for each in named}
    if len(totals) > 1:
        raise ImageError(f"{name} has shards of different sets (by their names): give each set its folder")
    total = next(iter(totals))
    plain = [_NUMBERED.fullmatch(stem) for stem in stems]
    numbers = sorted(int(each["number"]) for each in (plain if total is None else named) if each is not None)
    if total is None:
        if not numbers or numbers[0] != 0:  # not counted from 0, so that they may be years
            return
        total = numbers[-1] + 1
    missing = sorted(set(range(total)) - set(numbers))[:1]
    if missing or len(numbers) != total:
        lacks = f"lacks shard {missing[0]:05} of {total:,}" if missing else "has a shard twice"
        raise ImageError(f"{name} {lacks}: fetch all shards, each once")
