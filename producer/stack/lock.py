"""The lock that decides which process owns a home folder: one embedded stack per home.

The kernel holds it (flock(2)) and lets go at the owner's end, however that comes. The file stays,
with the owner's process id and start time in it for people to read; without the lock it means nothing.
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

_PATIENCE_S = 0.3  # a reader holds the lock for an instant; an owner that just took it has yet to write
_PAUSE_S = 0.01


@dataclass(frozen=True)
class Owner:
    """The process that runs a home's stack, and since when.

    emulator: where the emulator listens that its workers know; None: they know none.
    """

    pid: int
    since: datetime
    emulator: str | None = None


@contextmanager
def hold(home: Path, emulator: str | None = None) -> Iterator[None]:
    """Own the home for the length of the block; ``emulator`` is what others read of it in `Owner`.

    Raises:
        StackRunning: another process owns it.
        StackError: the lock's file cannot be made.
    """
    path = lock_path(home)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StackError(f"cannot make {path}: {error.strerror}") from error
    try:
        _take(descriptor, path)
        os.fchmod(descriptor, 0o600)
        _write(descriptor, emulator)
        yield
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def read_owner(home: Path) -> Owner | None:
    """Who owns the home now; None when nobody does.

    Raises:
        StackError: the lock's file cannot be read, or says nothing sensible although it is held.
    """
    path = lock_path(home)
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StackError(f"cannot read {path}: {error.strerror}") from error
    try:
        return _read_while_held(descriptor, path)
    finally:
        os.close(descriptor)


def lock_path(home: Path) -> Path:
    return home / "stack.lock"


def _take(descriptor: int, path: Path) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not _locked(descriptor, path, fcntl.LOCK_EX):
        if time.monotonic() > deadline:
            raise _running(path.parent)
        time.sleep(_PAUSE_S)


def _running(home: Path) -> StackError:
    holder = read_owner(home)
    if holder is None:
        return StackError(f"another process held {lock_path(home)} until just now: try again")
    since = holder.since.astimezone().isoformat(sep=" ", timespec="seconds")
    return StackRunning(
        f"process {holder.pid} runs the embedded stack of {home} since {since}: use it by plain commands "
        f"(without --embedded), stop it (Ctrl-C there, or `kill {holder.pid}`), "
        "or set ANNEALQ_HOME to another folder"
    )


def _locked(descriptor: int, path: Path, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise StackError(
            f"{path} cannot be locked ({error.strerror}): set ANNEALQ_HOME to a folder on a local disk"
        ) from error
    return True


def _write(descriptor: int, emulator: str | None) -> None:
    text = json.dumps({"pid": os.getpid(), "since": datetime.now(UTC).isoformat(), "emulator": emulator})
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, text.encode(), 0)


def _read_while_held(descriptor: int, path: Path) -> Owner | None:
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        if _locked(descriptor, path, fcntl.LOCK_SH):
            return None
        found = _parse(os.pread(descriptor, 1000, 0))
        late = time.monotonic() > deadline
        # Until the new owner has written, the file may still name a dead one.
        if found is not None and (late or _alive(found.pid)):
            return found
        if late:
            raise StackError(f"{path} is held by another process, but does not name it: look with `fuser`")
        time.sleep(_PAUSE_S)


def _parse(text: bytes) -> Owner | None:
    with suppress(ValueError, KeyError, TypeError):
        entry = json.loads(text)
        return Owner(int(entry["pid"]), datetime.fromisoformat(entry["since"]), entry.get("emulator"))
    return None


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
