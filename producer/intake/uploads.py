"""Stores uploaded files of large sets in the home folder until their images are read."""

from __future__ import annotations

import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select

from producer.files import out_of_space
from producer.stack.home import make_private
from schema.database import Database
from schema.errors import RequestRefused
from schema.states import FINISHED_RUNS, IntakeState
from schema.tables import Intake, Run

_UNCLAIMED_S = 3_600.0  # longer than a request takes from its first file to its commit
_RETRY_AFTER_S = 60


@dataclass
class StoredUpload:
    """A folder for the files of one request, which is removed unless ``stays`` is set."""

    folder: Path
    stays: bool = False


@contextmanager
def storing(home: Path, size: int, most: int) -> Iterator[StoredUpload]:
    """Yield a new folder in ``home`` for uploaded files of ``size`` bytes in all.

    Args:
        most: bytes of all uploaded files that may wait to be read.

    Raises:
        RequestRefused: 413 or 503, they would be more.
        DiskFull: no space is left in ``home``.
    """
    root = _root(home)
    make_private(root)
    waiting = _bytes(root)
    if waiting + size > most:
        is_never = size > most
        raise RequestRefused(
            f"the files have {size / 1e6:,.0f} MB, {waiting / 1e6:,.0f} MB wait to be read, and the server "
            f"stores {most / 1e6:,.0f} MB until then",
            413 if is_never else 503,
            "send fewer images in a run, or name files of the server by `uri`; the operator sets "
            "ANNEALQ_API_UPLOADS_MB",
            retry_after_s=None if is_never else _RETRY_AFTER_S,
        )
    with out_of_space(home, "free some space there, or set ANNEALQ_HOME to a folder that has more"):
        upload = StoredUpload(root / secrets.token_hex(16))
        make_private(upload.folder)
        try:
            yield upload
        finally:
            if not upload.stays:
                shutil.rmtree(upload.folder, ignore_errors=True)


def remove_unused(database: Database, home: Path) -> None:
    """Remove uploaded files in ``home`` whose images are read, or whose run in ``database`` has finished."""
    root = _root(home)
    if not root.is_dir():
        return
    query = select(Intake.source).join(Run, Run.id == Intake.id)
    query = query.where(Intake.state != IntakeState.ENDED, Run.state.not_in(FINISHED_RUNS))
    # Listed first: what is committed in between is younger.
    folders = [folder for folder in root.iterdir() if folder.is_dir()]
    with database.reading() as session:
        needed = {
            Path(source["data"]).parent.name for (source,) in session.execute(query) if source is not None
        }
        known = select(Intake.source).where(Intake.source.is_not(None))
        ended = {Path(source["data"]).parent.name for (source,) in session.execute(known)} - needed
    for folder in folders:
        is_old = time.time() - folder.stat().st_mtime > _UNCLAIMED_S
        if folder.name in ended or (is_old and folder.name not in needed):
            shutil.rmtree(folder, ignore_errors=True)


def _root(home: Path) -> Path:
    return home / "uploads"


def _bytes(root: Path) -> int:
    return sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
