"""Opens zip and tar files, alone or as shards of WebDataset in a folder."""

from __future__ import annotations

from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np

from producer.images.archives.members import Archive, Arranged, arrange, check_names
from producer.images.archives.reading import archive_entries
from producer.images.archives.tarred import TarFile
from producer.images.archives.webdataset import arrange_samples, is_note, is_webdataset
from producer.images.archives.zipped import ZipMembers
from producer.images.pictures.entry import Pictures
from producer.images.pieces.piece import Shard
from producer.images.pieces.shards import TAR, choose_split, find_shards
from producer.images.stream import printable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from producer.images.pieces.allowance import Allowance
    from producer.images.preprocessing import Changes


def open_tar(path: Path, part: str | None, changes: Changes, allowance: Allowance) -> Pictures:
    """Return the pictures of the tar file ``path``, or of a folder of such files.

    Args:
        path: a tar file of pictures, flat or in class folders, or of WebDataset; a folder of shards of
            WebDataset.
        part: a folder in the file, or a split of the shards; None: all.
        changes: counts what is left out.
        allowance: what listing and reading may need.

    Raises:
        ImageError: as `TarFile`, `check_names`, `arrange`, `arrange_samples` and `choose_split`.
    """
    paths = choose_split(path, find_shards(path, TAR), part) if path.is_dir() else [path]
    files = [TarFile(each, allowance, is_note) for each in paths]
    for file in files:
        check_names(file)
    name = printable(path) + (f":{printable(part)}" if part else "")
    if path.is_dir() or (part is None and is_webdataset(files[0])):
        return _pictures(name, files, arrange_samples(name, files, changes))
    names = [member.parts for member in files[0].members]
    return _pictures(name, files, [arrange(names, part, changes, printable(path))])


def open_zip(path: Path, part: str | None, changes: Changes, allowance: Allowance) -> Pictures:
    """Return the pictures of the zip archive ``path``, in the order in which those of its folder are read.

    The arguments are those of `open_tar`, and what is raised is as `ZipMembers`, `check_names`, `arrange`.
    """
    file = ZipMembers(path, allowance)
    check_names(file)
    names = [member.parts for member in file.members]
    arranged = arrange(names, part, changes, printable(path)).sorted_by(names)
    return _pictures(printable(path) + (f":{printable(part)}" if part else ""), [file], [arranged])


def _pictures(name: str, files: Sequence[Archive], arranged: Sequence[Arranged]) -> Pictures:
    starts = list(accumulate((len(each.members) for each in arranged), initial=0))
    members = [member for each in arranged for member in each.members]
    names = [shown for each in arranged for shown in each.names]
    labels = [each.labels for each in arranged if each.labels is not None]
    return Pictures(
        name,
        len(members),
        partial(archive_entries, files, starts, members, names),
        np.concatenate(labels) if labels else None,
        arranged[0].classes,
        [Shard(file.name, start) for file, start in zip(files, starts, strict=False)],
    )
