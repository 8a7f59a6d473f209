"""One QPU: first in, first out, busy for the time of each problem."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from schema.errors import ParameterError

if TYPE_CHECKING:
    from worker.emulator.service.store import AcceptedProblem


@dataclass(frozen=True)
class QpuClock:
    """The duration of a modelled second.

    ``speed`` says how many times faster than a QPU the clock runs; None: no time passes.
    """

    speed: float | None = 1.0

    @classmethod
    def parse(cls, text: str) -> QpuClock:
        """Parse ``text``: ``real``, ``off`` or ``scaled:FACTOR``; raise ParameterError for anything else."""
        if text in {"real", "off"}:
            return cls(1.0 if text == "real" else None)
        kind, _, factor = text.partition(":")
        try:
            speed = float(factor)
        except ValueError:
            speed = 0.0
        if kind != "scaled" or not 0.001 <= speed <= 1e6:
            raise ParameterError(
                f"the clock is real, off or scaled:FACTOR with 0.001 to 1,000,000, not {text!r}"
            )
        return cls(speed)

    def seconds(self, access_us: float) -> float:
        return 0.0 if self.speed is None else access_us / 1e6 / self.speed


class Bell:
    """Wakes requests that wait for problems to end."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._closed = False

    def ring(self, problem: str) -> None:
        """Wake those who wait for ``problem``, which has ended."""
        for event in self._waiting.get(problem, ()):
            event.set()

    def close(self) -> None:
        """Wake all, and let no later request wait."""
        self._closed = True
        for problem in self._waiting:
            self.ring(problem)

    async def wait(self, problems: Sequence[str], timeout_s: float) -> None:
        """Wait until one of ``problems`` ends, or for ``timeout_s`` seconds."""
        if self._closed:
            return
        event = asyncio.Event()
        for problem in problems:
            self._waiting.setdefault(problem, set()).add(event)
        try:
            await asyncio.wait_for(event.wait(), timeout_s)
        except TimeoutError:
            pass
        finally:
            for problem in problems:
                events = self._waiting.get(problem, set())
                events.discard(event)
                if not events:
                    self._waiting.pop(problem, None)


class EmulatedQpu:
    """One QPU and its queue. Use it from the event loop's thread.

    Reads of the first problems in the queue are drawn ahead, so that a modelled QPU that is faster than the
    sampling on this machine is delayed as little as possible.
    """

    def __init__(
        self,
        clock: QpuClock,
        ahead: int,
        sample: Callable[[AcceptedProblem], Future[bytes]],
        done: Callable[[AcceptedProblem, bytes | BaseException], None],
    ) -> None:
        """Make an idle QPU.

        Args:
            clock: duration of a modelled second.
            ahead: >= 1, how many problems to sample at a time.
            sample: starts to draw the answer of a problem.
            done: called with each answer, or with the error.
        """
        self._clock, self._ahead, self._sample, self._done = clock, ahead, sample, done
        self._queue: dict[str, AcceptedProblem] = {}
        self._arrived: dict[str, float] = {}
        self._answers: dict[str, Future[bytes]] = {}
        self._changed = asyncio.Event()
        self._free_at = 0.0
        self._online = True
        self.running: AcceptedProblem | None = None

    @property
    def waiting(self) -> int:
        """Return the number of waiting problems."""
        return len(self._queue)

    @property
    def online(self) -> bool:
        """Return whether problems are taken from the queue."""
        return self._online

    @online.setter
    def online(self, online: bool) -> None:
        self._online = online
        self._free_at = max(self._free_at, time.monotonic())
        self._changed.set()

    def put(self, entry: AcceptedProblem) -> None:
        self._queue[entry.id] = entry
        self._arrived[entry.id] = time.monotonic()
        self._changed.set()
        self._look_ahead()

    def remove(self, entry: AcceptedProblem) -> None:
        """Remove the problem ``entry`` from the queue if it waits there."""
        self._queue.pop(entry.id, None)
        self._arrived.pop(entry.id, None)
        if answer := self._answers.pop(entry.id, None):
            answer.cancel()
        self._look_ahead()

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            while not (self._queue and self._online):
                self._changed.clear()
                await self._changed.wait()
            self._look_ahead()
            self.running = self._queue.pop(next(iter(self._queue)))
            answer = self._answers.pop(self.running.id)
            self._look_ahead()
            outcome = await self._busy(self.running, answer)
            entry, self.running = self.running, None
            self._done(entry, outcome)

    async def _busy(self, entry: AcceptedProblem, answer: Future[bytes]) -> bytes | BaseException:
        """Wait for the time that the problem takes, and return its answer."""
        # It begins when it is there and the one before has ended, not when this machine comes to it: a QPU
        # does not wait for a web server.
        begun = max(self._arrived.pop(entry.id), self._free_at)
        self._free_at = begun + self._clock.seconds(entry.access_us)
        if (left_s := self._free_at - time.monotonic()) > 0:
            await asyncio.sleep(left_s)
        if not answer.done():
            await asyncio.wait([asyncio.wrap_future(answer)])
            self._free_at = max(self._free_at, time.monotonic())
        (outcome,) = await asyncio.gather(asyncio.wrap_future(answer), return_exceptions=True)
        return outcome

    def _look_ahead(self) -> None:
        for entry in islice(self._queue.values(), self._ahead):
            if entry.id not in self._answers:
                self._answers[entry.id] = self._sample(entry)
