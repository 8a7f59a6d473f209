"""Starts child processes, watches them, restarts the ones that die and stops them all in order."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from producer.stack.process import Child, Process, tail
from schema.errors import StackError

_POLL_S = 0.1
_STOP_POLL_S = 0.02

OnEvent = Callable[[str], None]


@dataclass(frozen=True)
class RestartPolicy:
    """How much to bear with child processes. Times in seconds."""

    first_delay_s: float = 0.5  # before the first restart; doubles with every further death
    longest_delay_s: float = 10.0
    deaths: int = 5  # within the window; one more is a crash loop
    window_s: float = 60.0
    grace_s: float = 20.0  # between asking a process to finish and killing it

    def delay_s(self, deaths: Sequence[float], now: float) -> float | None:
        """Seconds until the next start of a child that died at these times; None: give up."""
        recent = sum(now - at <= self.window_s for at in deaths)
        if recent > self.deaths:
            return None
        return float(min(self.first_delay_s * 2 ** max(recent - 1, 0), self.longest_delay_s))


@dataclass
class _Kept:
    """A child and what has become of it. Only the supervisor's thread touches it."""

    child: Child
    log: Path
    process: Process | None = None
    due: float = 0.0  # monotonic time of the next start, while there is no process
    deaths: list[float] = field(default_factory=list)


class Supervisor:
    """Keeps child processes running, from one thread of its own.

    That thread forks every child and lives until the last one is buried. It must: Linux sends a
    parent-death signal at the end of the *thread* that forked, so a child started elsewhere could
    be killed too early, and a restarted one must not hang on a thread that has gone.

    Use it once: start, stop. ``on_event`` gets one line for people per event, mostly from that
    thread; it must return soon and not raise.
    """

    def __init__(self, logs: Path, policy: RestartPolicy, on_event: OnEvent) -> None:
        self._logs = logs
        self._policy = policy
        self._tell = on_event
        self._inbox: queue.SimpleQueue[Child | None] = queue.SimpleQueue()  # None: stop
        self._kept: list[_Kept] = []
        self._deaths: dict[str, int] = {}
        self._hurry = False
        self._error: StackError | None = None
        self._ended = threading.Event()
        # A daemon: if its owner ends without stopping it, the interpreter must not wait for it.
        self._thread = threading.Thread(target=self._run, name="annealq-supervisor", daemon=True)

    def start(self, child: Child) -> None:
        """Start a child now and keep it running; returns at once."""
        if not self._thread.is_alive():
            self._thread.start()
        self._inbox.put(child)

    def stop(self) -> None:
        """Stop every child, the ones that stop last after the others; returns when none is left.

        Each is asked to finish, and killed with its process group when the grace is over.
        """
        if self._thread.is_alive():
            self._inbox.put(None)
            self._thread.join()

    def hurry(self) -> None:
        """End the grace: kill at once what is still being stopped. Safe in a signal handler."""
        self._hurry = True

    def check(self, *, immortal: str = "") -> None:
        """Raise what is wrong, if something is.

        Args:
            immortal: name of a child that must not have died even once.

        Raises:
            StackError: a child died too often, or could not be started. Its log's end is quoted.
        """
        if self._error is not None:
            raise self._error
        if self._deaths.get(immortal):
            raise StackError(f"the {immortal} died at its start; {self._last_words(immortal)}")

    def wait(self) -> NoReturn:
        """Block until something is wrong, then raise it as `check` does."""
        self._ended.wait()
        self.check()
        raise StackError("the child processes are no longer supervised")

    def _run(self) -> None:
        try:
            while self._take_orders():
                if self._error is None:
                    for kept in self._kept:
                        self._look_after(kept)
        finally:
            self._stop([kept for kept in self._kept if not kept.child.stops_last])
            self._stop([kept for kept in self._kept if kept.child.stops_last])
            self._ended.set()

    def _take_orders(self) -> bool:
        """Wait a moment for new children; False when it is time to stop."""
        try:
            child = self._inbox.get(timeout=_POLL_S)
        except queue.Empty:
            return True
        if child is not None:
            self._kept.append(_Kept(child, self._log(child.name)))
        return child is not None

    def _look_after(self, kept: _Kept) -> None:
        if kept.process is None:
            if time.monotonic() >= kept.due:
                self._start(kept)
        elif (code := kept.process.exit_code()) is not None:
            kept.process.kill()  # what it left behind
            kept.process = None
            self._plan_restart(kept, code)

    def _start(self, kept: _Kept) -> None:
        try:
            kept.process = Process(kept.child, kept.log)
        except OSError as error:
            self._break(StackError(f"cannot start the {kept.child.name}: {error}"))

    def _plan_restart(self, kept: _Kept, code: int) -> None:
        name, now = kept.child.name, time.monotonic()
        kept.deaths.append(now)
        self._deaths[name] = len(kept.deaths)
        ending = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
        delay = self._policy.delay_s(kept.deaths, now)
        if delay is None:
            self._break(
                StackError(
                    f"the {name} died more than {self._policy.deaths} times within "
                    f"{self._policy.window_s:.0f} s (at last: {ending}); {self._last_words(name)}"
                )
            )
            return
        kept.due = now + delay
        self._tell(f"the {name} died ({ending}): starting it again in {delay:.1f} s")

    def _break(self, error: StackError) -> None:
        self._error = error
        self._ended.set()

    def _stop(self, kept: Sequence[_Kept]) -> None:
        running = [each.process for each in kept if each.process is not None]
        for process in running:
            process.terminate()
        deadline = time.monotonic() + self._policy.grace_s
        while any(process.exit_code() is None for process in running):
            if self._hurry or time.monotonic() > deadline:
                break
            time.sleep(_STOP_POLL_S)
        for process in running:
            process.kill()

    def _log(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    def _last_words(self, name: str) -> str:
        return f"the end of {self._log(name)}:\n{tail(self._log(name))}"
