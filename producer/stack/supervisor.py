"""Starts child processes, watches them, restarts those that die and stops them in order."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from producer.stack.disk import Disk
from producer.stack.process import Child, Process, tail
from schema.errors import InputError, StackError

_POLL_S = 0.1
_WAKE_S = 0.5
_STOP_POLL_S = 0.02
_REFUSAL = InputError.exit_code  # of a child whose settings or options are wrong

OnEvent = Callable[[str], None]


@dataclass(frozen=True)
class RestartPolicy:
    """Restart policy of child processes. Times in seconds."""

    first_delay_s: float = 0.5  # before the first restart; doubles with each death
    longest_delay_s: float = 10.0
    deaths: int = 5  # within the window; one more is a crash loop
    window_s: float = 60.0
    grace_s: float = 20.0  # between asking a process to finish and killing it

    def delay_s(self, deaths: Sequence[float], now: float) -> float | None:
        """Return the seconds from ``now`` to the next start after these ``deaths``; None means give up."""
        recent = sum(now - death <= self.window_s for death in deaths)
        if recent > self.deaths:
            return None
        return float(min(self.first_delay_s * 2 ** max(recent - 1, 0), self.longest_delay_s))


@dataclass
class _Supervised:
    """A child and its process. Only the supervisor's thread touches it."""

    child: Child
    log: Path
    process: Process | None = None
    due: float = 0.0  # monotonic time of the next start, if ``process`` is None
    deaths: list[float] = field(default_factory=list)


class Supervisor:
    """Restarts child processes from one thread of its own.

    That thread forks every child and lives until the last one is reaped, because Linux sends the
    parent-death signal when the *thread* that forked ends: a child that another thread started
    could be killed too early.

    Use it once: start, stop. ``on_event`` gets one line of text per event, mostly from that
    thread; it must return soon and not raise.
    """

    def __init__(
        self, logs: Path, policy: RestartPolicy, on_event: OnEvent, disk: Disk | None = None
    ) -> None:
        """Prepare to supervise.

        Args:
            logs: the folder of one log for each child.
            disk: while it is full, children may die as often as they like.
        """
        self._logs = logs
        self._disk = disk
        self._policy = policy
        self._report = on_event
        self._inbox: queue.SimpleQueue[Child | None] = queue.SimpleQueue()  # None: stop
        self._supervised: list[_Supervised] = []
        self._deaths: dict[str, int] = {}
        self._skips_grace = False
        self._error: StackError | None = None
        self._ended = threading.Event()
        # A daemon, so that the interpreter does not wait for it if its owner ends without stopping it.
        self._thread = threading.Thread(target=self._run, name="annealq-supervisor", daemon=True)

    def start(self, child: Child) -> None:
        """Start ``child`` and restart it when it dies; return at once."""
        if not self._thread.is_alive():
            self._thread.start()
        self._inbox.put(child)

    def stop(self) -> None:
        """Stop every child, those with ``stops_last`` after the others, and wait until all have ended.

        Each is asked to finish, and killed with its process group after the grace period.
        """
        if self._thread.is_alive():
            self._inbox.put(None)
            self._thread.join()

    def skip_grace(self) -> None:
        """Kill at once all children that are still being stopped. Safe in a signal handler."""
        self._skips_grace = True

    def check(self, *, never_died: str = "") -> None:
        """Raise the error that ended supervision, if any.

        Args:
            never_died: name of a child that must not have died even once.

        Raises:
            StackError: a child died too often, or could not be started; quotes the end of its log.
        """
        if self._error is not None:
            raise self._error
        if self._deaths.get(never_died):
            raise StackError(f"the {never_died} died while starting; {self._last_lines(never_died)}")

    def wait(self) -> NoReturn:
        """Block until supervision ends with an error, then raise it as `check` does."""
        # A signal that another thread gets does not wake this one, where Python handles it.
        while not self._ended.wait(_WAKE_S):
            pass
        self.check()
        raise StackError("the child processes are no longer supervised")

    def _run(self) -> None:
        try:
            while self._receive():
                if self._disk is not None and (news := self._disk.news()):
                    self._report(news)
                if self._error is None:
                    for supervised in self._supervised:
                        self._watch(supervised)
        finally:
            for last in (False, True):
                self._stop([each for each in self._supervised if each.child.stops_last is last])
            self._ended.set()

    def _receive(self) -> bool:
        """Wait a moment for new children; return False when `stop` was called."""
        try:
            child = self._inbox.get(timeout=_POLL_S)
        except queue.Empty:
            return True
        if child is not None:
            self._supervised.append(_Supervised(child, self._log(child.name)))
        return child is not None

    def _watch(self, supervised: _Supervised) -> None:
        if supervised.process is None:
            if time.monotonic() >= supervised.due:
                self._start(supervised)
        elif (code := supervised.process.exit_code()) is not None:
            supervised.process.kill()  # its children, which may outlive it
            supervised.process = None
            self._plan_restart(supervised, code)

    def _start(self, supervised: _Supervised) -> None:
        try:
            supervised.process = Process(supervised.child, supervised.log)
        except OSError as error:
            self._fail(StackError(f"cannot start the {supervised.child.name}: {error}"))

    def _plan_restart(self, supervised: _Supervised, code: int) -> None:
        name, now = supervised.child.name, time.monotonic()
        supervised.deaths.append(now)
        self._deaths[name] = len(supervised.deaths)
        ending = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
        if code == _REFUSAL:  # it would refuse to start again
            lines = tail(self._log(name)).splitlines()
            self._fail(StackError(f"the {name} cannot start: {lines[-1].removeprefix('error: ')}"))
            return
        delay = self._policy.delay_s(supervised.deaths, now)
        if delay is None and self._disk is not None and self._disk.is_full:
            delay = self._policy.longest_delay_s
        if delay is None:
            self._fail(
                StackError(
                    f"the {name} died more than {self._policy.deaths} times within "
                    f"{self._policy.window_s:.0f} s (at last: {ending}); {self._last_lines(name)}"
                )
            )
            return
        supervised.due = now + delay
        if self._disk is None or not self._disk.is_full:  # which has been said
            self._report(f"the {name} died ({ending}): starting it again in {delay:.1f} s")

    def _fail(self, error: StackError) -> None:
        self._error = error
        self._ended.set()

    def _stop(self, group: Sequence[_Supervised]) -> None:
        running = [each.process for each in group if each.process is not None]
        for process in running:
            process.terminate()
        deadline = time.monotonic() + self._policy.grace_s
        while any(process.exit_code() is None for process in running):
            if self._skips_grace or time.monotonic() > deadline:
                break
            time.sleep(_STOP_POLL_S)
        for process in running:
            process.kill()

    def _log(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    def _last_lines(self, name: str) -> str:
        return f"the end of {self._log(name)}:\n{tail(self._log(name))}"
