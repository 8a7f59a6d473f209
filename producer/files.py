"""Writes files and folders atomically: complete, or as it was before. Names the place of a full disk."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from schema.errors import DiskFull, ParameterError

if TYPE_CHECKING:
    from collections.abc import Iterator

OUT_OF_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a new, empty file next to ``path`` that replaces it afterwards, or is removed on any error."""
    with _translate_errors(path):
        target = _target(path)
        unfinished = target.with_name(f".annealq-{secrets.token_hex(8)}.part")
        unfinished.touch(exist_ok=False)
        try:
            yield unfinished
            with unfinished.open("rb") as complete:
                os.fsync(complete.fileno())
            unfinished.replace(target)
        finally:
            unfinished.unlink(missing_ok=True)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a new, empty folder that becomes ``path`` afterwards, or is removed on any error.

    Raises:
        ParameterError: there is something at ``path`` already, or it cannot be written.
        DiskFull: no space left.
    """
    with _translate_errors(path):
        if path.exists() and not (path.is_dir() and not any(path.iterdir())):
            raise ParameterError(f"{path}: exists already; name a new folder")
        unfinished = path.with_name(f".annealq-{secrets.token_hex(8)}.part")
        unfinished.mkdir()
        try:
            yield unfinished
            unfinished.rename(path)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)


@contextmanager
def out_of_space(place: str | Path, remedy: str) -> Iterator[None]:
    """Raise DiskFull with ``place`` and ``remedy`` instead of the system's errors of a full disk."""
    try:
        yield
    except OSError as error:
        if error.errno not in OUT_OF_SPACE:
            raise
        raise DiskFull(f"disk full: {place}: {remedy}") from error


@contextmanager
def temporary() -> Iterator[str]:
    """Yield the folder of temporary files; a full disk in the block raises DiskFull that names it."""
    folder = tempfile.gettempdir()
    with out_of_space(folder, "free some space there, or set TMPDIR to a folder that has more"):
        yield folder


@contextmanager
def new_temporary(suffix: str = "") -> Iterator[Path]:
    """Yield a new, empty temporary file, which is removed on any error; afterwards the caller deletes it.

    Raises:
        DiskFull: no space is left for it; it names the folder.
    """
    with temporary(), ExitStack() as on_failure:
        with tempfile.NamedTemporaryFile(prefix="annealq-", suffix=suffix, delete=False) as file:
            path = Path(file.name)
        on_failure.callback(path.unlink, missing_ok=True)
        yield path
        on_failure.pop_all()


@contextmanager
def _translate_errors(path: Path) -> Iterator[None]:
    remedy = "nothing was written; free some space and try again, or name a file on another disk"
    try:
        with out_of_space(path, remedy):
            yield
    except OSError as error:
        raise ParameterError(
            f"{path}: cannot be written ({error.strerror or error}); name another file"
        ) from error


def _target(path: Path) -> Path:
    """Return ``path`` behind symbolic links; raise ParameterError if it is a folder, pipe or device."""
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        raise ParameterError(
            f"{path}: exists and is not a regular file; name another file, or none for standard output"
        )
    return target
