"""The home folder of a local stack: private, with database, logs and the data of its servers."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from pathlib import Path

from schema.errors import StackError

_PROBE_BYTES = 65_536
_LEAST_FREE = 32_000_000  # bytes: for logs, the broker's queues and the first results


def make_home(home: Path) -> None:
    """Create the folder ``home``, private (0700); an existing one keeps its permissions.

    All files that annealq writes there are private.

    Raises:
        StackError: it cannot be created, entered or written to, or its disk is full.
    """
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=home) as probe:  # also finds a quota, which `disk_usage` does not
            probe.write(bytes(_PROBE_BYTES))
        free = shutil.disk_usage(home).free
    except OSError as error:
        raise StackError(
            f"cannot use {home} as home folder ({error.strerror}): set ANNEALQ_HOME to another folder"
        ) from error
    if free < _LEAST_FREE:
        raise StackError(
            f"no space left for the home folder {home}: {free / 1e6:.1f} MB are free, a start needs "
            f"{_LEAST_FREE / 1e6:.0f}; free some, or set ANNEALQ_HOME to a folder on another disk"
        )


def make_private(folder: Path) -> None:
    """Create ``folder`` for this user alone (0700); missing parents get the usual permissions.

    Raises:
        StackError: it cannot be created, is not a folder, or belongs to another user.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.lstat()
    except OSError as error:
        raise StackError(f"cannot create the folder {folder}: {error.strerror}") from error
    # The socket's folder may be in the shared temporary one, where anybody can put a trap.
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise StackError(f"{folder} is not a folder of this user: remove it, or set ANNEALQ_HOME or TMPDIR")
    if stat.S_IMODE(status.st_mode) != 0o700:
        folder.chmod(0o700)


def log_folder(home: Path) -> Path:
    """Return the folder in ``home`` with one log for each child: broker.log, worker.log ..."""
    return home / "logs"


def broker_folder(home: Path) -> Path:
    return home / "broker"


def emulator_folder(home: Path) -> Path:
    return home / "emulator"
