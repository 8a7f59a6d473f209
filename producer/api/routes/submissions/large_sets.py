"""Large sets of a request, whose images are read on in the background after the answer."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from producer.api.routes.submissions.options import RunBodyOptions
from producer.api.routes.submissions.uploads import SentFile, Takes, base_name, find_uri, store_file
from producer.images.locations import file_digest
from producer.images.pieces.allowance import Allowance
from producer.intake.find import source_for, uploaded
from producer.intake.source import LargeSource, named
from producer.intake.uploads import StoredUpload, storing
from producer.runs.request import ClassificationRequest
from schema.settings import ApiSettings

_LARGE_BYTES = 2**20  # of files, from which on they may hold a large set


@dataclass(frozen=True)
class StoredSet:
    """The file of a set that was sent, and that of its labels, in a folder that may stay.

    Attributes:
        name: that its sender gave it.
    """

    upload: StoredUpload
    data: Path
    labels: Path | None
    name: str


@contextmanager
def stored_set(
    files: Sequence[SentFile], labels: SentFile | None, home: Path, most: int
) -> Iterator[StoredSet | None]:
    """Store a file that may hold a large set in the folder ``home`` for the length of the block.

    Yields None for pictures, and for small files: they are read at once. ``most`` is as for `storing`.

    Raises:
        RequestRefused, DiskFull: as `producer.intake.uploads.storing`.
    """
    sent = [*files, *([] if labels is None else [labels])]
    size = sum(map(_size, sent))
    if len(files) != 1 or size < _LARGE_BYTES:
        yield None
        return
    with storing(home, size, most) as upload:
        paths = [store_file(file, upload.folder, number) for number, file in enumerate(sent)]
        yield StoredSet(upload, paths[0], paths[1] if labels is not None else None, base_name(files[0].name))


def large_upload(
    stored: StoredSet, options: RunBodyOptions, allowed: Allowance, takes: Takes
) -> LargeSource | None:
    """Return the large set that was sent; None: it is small, or cannot be read in pieces.

    The other arguments are those of `read_files`.

    Raises:
        ImageError: it cannot be used, or its images have too many bytes.
    """
    names = (str(stored.data), stored.name), (str(stored.labels), "labels")
    with named(None, names):
        source = _large(stored.data, options.part, stored.labels, options, allowed, takes)
    if source is None:
        return None
    allowed.values(stored.name, source.nbytes)
    labels = None if stored.labels is None else file_digest(stored.labels)
    origin = replace(source.origin, sha256=file_digest(stored.data), labels_sha256=labels)
    return uploaded(replace(source, origin=origin), stored.name)


def large_uri(
    uri: str, options: RunBodyOptions, limits: ApiSettings, allowed: Allowance, takes: Takes
) -> LargeSource | None:
    """Return the large source at ``uri``; None: it is small, or cannot be read in pieces.

    The arguments, and what is raised, are those of `read_uri`.
    """
    path, part = find_uri(uri, options.part, limits)
    return _large(path, part, None, options, allowed, takes)


def _large(
    path: Path,
    part: str | None,
    labels: Path | None,
    options: RunBodyOptions,
    allowed: Allowance,
    takes: Takes,
) -> LargeSource | None:
    asked: dict[str, Any] = vars(options.request())
    text = None if labels is None else str(labels)
    request = ClassificationRequest(**asked, data=str(path), labels=text, name=options.name)
    return source_for(request, takes, part, allowed)


def _size(sent: SentFile) -> int:
    sent.file.seek(0, os.SEEK_END)
    size = sent.file.tell()
    sent.file.seek(0)
    return size
