"""The home folder of a local stack: private, with database, logs and the data of its servers."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from schema.errors import StackError

_OURS = ("annealq", "stack.lock", "broker", "logs", "emulator")  # prefixes of our own entries


def make_home(home: Path) -> None:
    """Create the folder ``home``, private (0700); make an existing one private if only annealq uses it.

    Raises:
        StackError: it cannot be created or used.
    """
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        # ANNEALQ_HOME=/tmp must not lock everybody else out: files of ours are private there too.
        is_ours = home.stat().st_uid == os.geteuid()
        if is_ours and all(entry.name.startswith(_OURS) for entry in home.iterdir()):
            home.chmod(0o700)
    except OSError as error:
        raise StackError(
            f"cannot use {home} as home folder ({error.strerror}): set ANNEALQ_HOME to another folder"
        ) from error


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
