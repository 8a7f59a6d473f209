"""The lock that decides which process owns a home folder: one local stack per home.

The kernel holds it (flock(2)) and releases it when the owner ends, however that happens. Readers try a shared
lock, so that they exclude neither each other nor an owner for long. The file stays; it names the owner's
process id and start time, which mean nothing without the lock.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from schema.errors import StackError, StackRunning

_PATIENCE_S = 0.3  # a reader holds the lock for an instant, and a new owner has yet to write
_PAUSE_S = 0.01


@dataclass(frozen=True)
class HomeOwner:
    """The process that runs a home's stack, since when, and the URL of its workers' emulator, if any."""

    pid: int
    since: datetime
    emulator: str | None = None


@contextmanager
def hold(home: Path, emulator: str | None = None) -> Iterator[None]:
    """Own ``home`` for the length of the block; others read ``emulator`` in `HomeOwner`.

    Raises:
        StackRunning: another process owns it.
        StackError: the lock's file cannot be created.
    """
    path = lock_path(home)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StackError(f"cannot create {path}: {error.strerror}") from error
    try:
        _acquire(descriptor, path)
        entry = {"pid": os.getpid(), "since": datetime.now(UTC).isoformat(), "emulator": emulator}
        try:
            os.fchmod(descriptor, 0o600)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(entry).encode(), 0)
        except OSError as error:
            raise StackError(f"cannot write {path}: {error.strerror}; free some space") from error
        yield
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def read_owner(home: Path) -> HomeOwner | None:
    """Return the process that owns ``home`` now, or None.

    Raises:
        StackError: the lock's file cannot be read, or it is locked but does not name its owner.
    """
    path = lock_path(home)
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StackError(f"cannot read {path}: {error.strerror}") from error
    try:
        return _read_while_locked(descriptor, path)
    finally:
        os.close(descriptor)


def lock_path(home: Path) -> Path:
    return home / "stack.lock"


def _acquire(descriptor: int, path: Path) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not _try_lock(descriptor, path, fcntl.LOCK_EX):
        if time.monotonic() > deadline:
            raise _already_owned(path.parent)
        time.sleep(_PAUSE_S)


def _already_owned(home: Path) -> StackError:
    owner = read_owner(home)
    if owner is None:
        return StackError(f"another process has just released {lock_path(home)}: try again")
    since = owner.since.astimezone().isoformat(sep=" ", timespec="seconds")
    return StackRunning(
        f"process {owner.pid} runs the local stack of {home} since {since}: use it with plain commands "
        f"(without --embedded), stop it (Ctrl-C there, or `kill {owner.pid}`), "
        "or set ANNEALQ_HOME to another folder"
    )


def _try_lock(descriptor: int, path: Path, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise StackError(
            f"{path} cannot be locked ({error.strerror}): set ANNEALQ_HOME to a folder on a local disk"
        ) from error
    return True


def _read_while_locked(descriptor: int, path: Path) -> HomeOwner | None:
    deadline = time.monotonic() + _PATIENCE_S
    while not _try_lock(descriptor, path, fcntl.LOCK_SH):
        owner = _parse(os.pread(descriptor, 1000, 0))
        is_late = time.monotonic() > deadline
        # Until the new owner has written, the file may still name a dead one.
        if owner is not None and (is_late or _is_alive(owner.pid)):
            return owner
        if is_late:
            raise StackError(f"{path} is locked by an unnamed process: find it with `fuser {path}`")
        time.sleep(_PAUSE_S)
    return None


def _parse(text: bytes) -> HomeOwner | None:
    with suppress(ValueError, KeyError, TypeError):
        entry = json.loads(text)
        return HomeOwner(int(entry["pid"]), datetime.fromisoformat(entry["since"]), entry.get("emulator"))
    return None


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
