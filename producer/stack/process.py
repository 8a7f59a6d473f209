"""A child process of the local stack, in its own session, with its own log; it dies with its owner."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from schema.errors import StackError
from schema.settings.shared import Settings

_LOG_BYTES = 10 * 1024 * 1024
_TAIL_BYTES = 16 * 1024
_REAP_S = 5.0  # a killed process that takes longer hangs in the kernel: nothing more can be done
_PAUSE_S = 0.01
_DIE_WITH_PARENT = Path(__file__).with_name("die_with_parent.py")


@dataclass(frozen=True)
class Child:
    """Specification of a child process: name (also of its log), command line, extra variables."""

    name: str
    command: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    stops_last: bool = False  # the other children need it until they have stopped


class Process:
    """A running child.

    It leads a session, so that a terminal's Ctrl-C reaches the owner only, and a process group,
    so that its own children can be killed with it. On Linux it gets SIGKILL when the *thread*
    that created this object ends: create it in a thread that lives long enough.
    """

    def __init__(self, child: Child, log: Path) -> None:
        """Start ``child``; its standard output and error are appended to ``log``.

        Raises:
            OSError: the process could not be started, or the log cannot be written.
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
        """Return None while it runs, and minus the signal's number if a signal killed it."""
        return self._popen.poll()

    def terminate(self) -> None:
        """Ask it to finish; a dead process is ignored."""
        self._popen.terminate()

    def kill(self) -> None:
        """Kill its process group at once, also children that outlive it, and reap it."""
        # macOS answers EPERM where Linux answers ESRCH: the group is empty or all zombies.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):
            self._popen.wait(_REAP_S)


def tied_to_owner(command: Sequence[str]) -> list[str]:
    """Return a command line that runs ``command`` and, on Linux, dies with this process."""
    if sys.platform != "linux":
        return list(command)
    return [sys.executable, "-I", "-S", str(_DIE_WITH_PARENT), str(os.getpid()), *command]


def environment(settings: Settings) -> dict[str, str]:
    """Return the variables that lead a child process to the home, database and broker of ``settings``."""
    return {
        "ANNEALQ_HOME": str(settings.home),
        "ANNEALQ_DATABASE_URL": settings.database_url,
        "ANNEALQ_BROKER_URL": settings.broker_url,
        # There is a process per processor already: numpy's threads would compete with them. Not
        # OMP_NUM_THREADS: with it, training with two torch threads takes ten times as long.
        "OPENBLAS_NUM_THREADS": os.environ.get("OPENBLAS_NUM_THREADS", "1"),
        # torch's threads wait for each other in a loop by default: where other processes want their
        # processors, training with two threads then takes ten times as long as with threads that sleep.
        "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "passive"),
    }


def wait_until_ready(
    server: str, answers: Callable[[], bool], check_alive: Callable[[], None], limit_s: float
) -> None:
    """Block until ``answers`` returns true; ``check_alive`` is called in between and may raise.

    Raises:
        StackError: ``server`` did not answer within ``limit_s`` seconds.
    """
    deadline = time.monotonic() + limit_s
    while not answers():
        check_alive()
        if time.monotonic() > deadline:
            raise StackError(f"{server} does not answer after {limit_s:.0f} s")
        time.sleep(_PAUSE_S)


def rotate(log: Path) -> None:
    """Rename a ``log`` of more than 10 MB to ``NAME.1``, in place of an older one."""
    with suppress(FileNotFoundError):
        if log.stat().st_size > _LOG_BYTES:
            log.replace(log.with_name(f"{log.name}.1"))


def tail(log: Path, lines: int = 20) -> str:
    """Return the last ``lines`` of ``log``, or a remark that it is empty."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            text = file.read().decode(errors="replace").strip()
    except OSError:
        text = ""
    return "\n".join(text.splitlines()[-lines:]) or "(it is empty)"
