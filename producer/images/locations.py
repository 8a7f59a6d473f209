"""Says where images came from, and whether they are still there as they were."""

from __future__ import annotations

import functools
import hashlib
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from producer.images.formats import DIGITS, EXPLICIT_DIGITS, locate
from producer.images.origin import DataOrigin
from producer.images.stream import is_stand_in, open_regular, printable, translate_errors
from schema.errors import ImageError

if TYPE_CHECKING:
    from producer.images.preprocessing import Preprocessing


def origin_of(
    name: str,
    path: Path,
    part: str | None,
    labels: str | Path | None,
    preprocessing: Preprocessing,
    *,
    hashes: bool = True,
) -> DataOrigin | None:
    """Return where the images called ``name`` come from; None: that cannot be stored or shown as it is.

    Args:
        path, part, labels, preprocessing: those of the source.
        hashes: read the files to their ends, for the digests of their bytes.
    """
    labels_path, labels_part = (None, None) if labels is None else locate(labels)
    labels_text = None if labels_path is None else _absolute(labels_path, labels_part)
    data, size = _absolute(path, part), preprocessing.size
    if any(text != printable(text) for text in (data, labels_text or "")):
        return None
    return DataOrigin(
        data=data,
        name=name,
        labels=labels_text,
        sha256=file_digest(path) if hashes else None,
        labels_sha256=file_digest(labels_path) if hashes and labels_path is not None else None,
        read_as=None if preprocessing.read_as is None else preprocessing.read_as.value,
        resize=None if size is None else f"{size[0]}x{size[1]}",
        fit=None if size is None else preprocessing.fit.value,
        invert=preprocessing.invert,
        skip_unreadable=preprocessing.skip_unreadable,
    )


def name_of(path: Path, part: str | None) -> str:
    """Return the last part of the path, also for ``.`` and ``..``."""
    named = path if path.name.strip(".") else path.resolve()
    return printable(named.name or named) + (f":{printable(part)}" if part else "")


def file_digest(path: Path) -> str | None:
    """Return the SHA-256 of the bytes of ``path``; None for a folder, and for what an object store has."""
    with translate_errors(path):
        if path.is_dir() or is_stand_in(path):
            return None
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_unchanged(origin: DataOrigin) -> bool:
    """Return whether ``origin`` names images that are on this machine and, if in a file, as they were."""
    if origin.uploaded:
        return False
    files = [(origin.data, origin.sha256), (origin.labels, origin.labels_sha256)]
    for source, sha256 in files:
        if source is None or source in (DIGITS, EXPLICIT_DIGITS):
            continue
        path, _ = locate(source)
        try:
            status = path.stat()
            if stat.S_ISDIR(status.st_mode) != (sha256 is None):
                return False
            if sha256 is not None and _known_digest(path, status.st_size, status.st_mtime_ns) != sha256:
                return False
        except (OSError, ValueError, ImageError):
            return False
    return True


def _absolute(path: Path, part: str | None) -> str:
    return str(path.absolute()) + (f":{part}" if part else "")


@functools.lru_cache(maxsize=64)
def _known_digest(path: Path, _size: int, _modified_ns: int) -> str | None:
    """Return the digest of ``path``, which is read again once its size or time has changed."""
    return file_digest(path)
