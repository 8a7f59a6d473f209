"""One child process of the embedded stack: its own session, its own log, dead when its owner is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

_LOG_BYTES = 10 * 1024 * 1024
_TAIL_BYTES = 16 * 1024
_BURIAL_S = 5.0  # a killed process that takes longer hangs in the kernel: nothing more can be done
_LEASH = Path(__file__).with_name("die_with_parent.py")


@dataclass(frozen=True)
class Child:
    """What to keep running: a name (also its log's), a command line, variables on top of our environment."""

    name: str
    command: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    stops_last: bool = False  # the others need it until their end


class Process:
    """A running child.

    It leads a session, so that a terminal's Ctrl-C reaches the owner only, and a process group,
    so that what it started can be killed with it. On Linux it gets SIGKILL at the end of the
    *thread* that built this object: build it in a thread that lives long enough.
    """

    def __init__(self, child: Child, log: Path) -> None:
        """Start it; standard output and error are appended to ``log``.

        Raises:
            OSError: no process could be started, or the log cannot be written.
        """
        rotate(log)
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            self._popen = subprocess.Popen(
                tied_to_owner(child.command),
                stdin=subprocess.DEVNULL,
                stdout=descriptor,
                stderr=subprocess.STDOUT,
                env={**os.environ, **child.env},
                start_new_session=True,
                umask=0o077,
            )
        finally:
            os.close(descriptor)

    @property
    def pid(self) -> int:
        return self._popen.pid

    def exit_code(self) -> int | None:
        """None while it runs; negative: the signal that killed it."""
        return self._popen.poll()

    def terminate(self) -> None:
        """Ask it to finish; does nothing when it is dead."""
        self._popen.terminate()

    def kill(self) -> None:
        """Kill its whole process group at once, also what a dead leader left behind, and reap it."""
        # macOS answers EPERM where Linux answers ESRCH: the group is empty or all zombies.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):
            self._popen.wait(_BURIAL_S)


def tied_to_owner(command: Sequence[str]) -> list[str]:
    """The command line that runs ``command`` tied to this process's life, where the system can do that."""
    if sys.platform != "linux":
        return list(command)
    return [sys.executable, "-I", "-S", str(_LEASH), str(os.getpid()), *command]


def rotate(log: Path) -> None:
    """Move a log over 10 MB out of the way, to ``NAME.1``; the one that was there goes."""
    with suppress(FileNotFoundError):
        if log.stat().st_size > _LOG_BYTES:
            log.replace(log.with_name(f"{log.name}.1"))


def tail(log: Path, lines: int = 20) -> str:
    """The last lines of a log, or a remark that there are none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            text = file.read().decode(errors="replace").strip()
    except OSError:
        text = ""
    return "\n".join(text.splitlines()[-lines:]) or "(it is empty)"
