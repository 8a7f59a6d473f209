"""The home folder of an embedded stack: ours alone, with database, logs, and what its servers keep."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from schema.errors import StackError

_OURS = ("annealq", "stack.lock", "broker", "logs", "emulator")  # how the names of our own entries begin


def make_home(home: Path) -> None:
    """Make the home folder, private (0700). One that was there is made private if only we use it.

    Raises:
        StackError: it cannot be made or used.
    """
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        # ANNEALQ_HOME=/tmp must not lock everybody else out: files of ours are private there too.
        is_ours = home.stat().st_uid == os.geteuid()
        if is_ours and all(entry.name.startswith(_OURS) for entry in home.iterdir()):
            home.chmod(0o700)
    except OSError as error:
        raise StackError(
            f"cannot use {home} as home folder ({error.strerror}): set ANNEALQ_HOME to a folder of yours"
        ) from error


def make_private(folder: Path) -> None:
    """Make a folder that is ours alone (0700); missing parents are made with the usual rights.

    Raises:
        StackError: it cannot be made, is no folder, or belongs to another user.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise StackError(f"cannot make the folder {folder}: {error.strerror}") from error
    # The socket's folder may be in the shared temporary one, where anybody can put a trap.
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise StackError(f"{folder} is not a folder of this user: remove it, or set ANNEALQ_HOME or TMPDIR")
    if stat.S_IMODE(found.st_mode) != 0o700:
        folder.chmod(0o700)


def log_folder(home: Path) -> Path:
    """Folder of the logs: a file for each child: broker.log, worker.log ..."""
    return home / "logs"


def broker_folder(home: Path) -> Path:
    """Folder where the private broker keeps its queues."""
    return home / "broker"


def emulator_folder(home: Path) -> Path:
    """Folder where the stack's emulator keeps its problems."""
    return home / "emulator"
