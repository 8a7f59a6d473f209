"""Solvers with qubits, over dwave-cloud-client: problems go out without waiting, answers come as events.

The client encodes a problem from a dict of every qubit (11 ms for a full chip) and decodes an answer into a
matrix of all qubits (24 ms). Both are passed by here: problems arrive encoded and go straight to the client's
submission queue, answers are taken as they came. The client's own threads send, poll and load; errors are
mapped once, here, to Refused, Unavailable and Uncertain.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import orjson
from dwave.cloud.api import Problems
from dwave.cloud.computation import Future
from dwave.cloud.concurrency import Present
from dwave.cloud.exceptions import (
    CanceledFutureError,
    SolverFailureError,
    SolverOfflineError,
)

from schema.errors import Corrupt, Offline, Refused, SolverError, Unavailable, Uncertain
from schema.parameters import Parameters
from worker.embedding.model.graphs import SolverGraph
from worker.embedding.model.scale import Ranges
from worker.sapi import problems as sapi_problems
from worker.sapi import wire
from worker.sapi.client import Access, choose_solver, connect
from worker.sapi.errors import GONE, map_submission_error, mapping_errors
from worker.sapi.problems import ListedProblem


@dataclass(frozen=True)
class Accepted:
    """The solver has given the problem its id."""

    key: int
    sapi_id: str


@dataclass(frozen=True, eq=False)
class Answered:
    """The problem was answered."""

    key: int
    sapi_id: str
    answer: wire.Answer


@dataclass(frozen=True)
class Failed:
    """The problem will not be answered, or not now.

    sapi_id: where one was given. ended: the problem is at its end; else it may still be answered. spent: it
    was charged although there is no answer; what is at its end without an answer is not, as a rule.
    """

    key: int
    sapi_id: str | None
    error: SolverError
    ended: bool
    spent: bool = False


Event = Accepted | Answered | Failed


class _Bell(threading.Event):
    """An event that also puts a key on a queue when it is set."""

    def __init__(self, key: int, rung: queue.SimpleQueue[int]) -> None:
        super().__init__()
        self._key = key
        self._rung = rung

    def set(self) -> None:
        super().set()
        self._rung.put(self._key)


class _Future(Future):  # type: ignore[misc]  # the client has no types
    """A future that rings when its id is known and when it is done, and keeps the answer as it came."""

    def __init__(self, key: int, rung: queue.SimpleQueue[int], solver: Any, sapi_id: str | None) -> None:
        super().__init__(solver=solver, id_=sapi_id)
        # The client would parse the solver's times, which nobody asks for, where it has none yet.
        self.time_received = self.time_solved = self.time_created
        bell = _Bell(key, rung)
        if sapi_id is None:
            self._id_ready_event = bell
        self._add_event(bell)

    def _decode(self) -> Any:
        self._result = self._message["answer"]
        return self._result


class SolverConnection:
    """One solver of one client. Build it after the fork; it is used by one thread, and closed."""

    def __init__(self, access: Access, parameters: Parameters) -> None:
        """Connect, and read what the solver says of itself.

        Raises:
            Refused: no token, a wrong one, no such solver, or one without qubits.
            Unavailable: it does not answer, or is offline.
        """
        self._access = access
        self._client = connect(access)
        try:
            self._solver = choose_solver(self._client, parameters.qpu)
            self.properties: dict[str, Any] = dict(self._solver.properties)
            self.name = str(self._solver.name)
            graph_id = str(self._solver.graph_id or "")
            self.graph = SolverGraph.from_properties(self.name, graph_id, self.properties)
            self.ranges = Ranges.from_properties(self.properties)
        except BaseException:
            self._client.close(wait=False)
            raise
        self._rung: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._open: dict[int, _Future] = {}
        self._accepted: set[int] = set()

    def close(self) -> None:
        """Leave; problems that are under way stay with the solver."""
        self._client.close(wait=False)

    def estimate_us(self, parameters: Parameters, qubits: int) -> int:
        """Microseconds of QPU access time that a problem with so many qubits is charged.

        Raises:
            Refused: reads or times out of the solver's ranges; says which, and how far they go.
        """
        self._check(parameters)
        times = _times(parameters)
        try:
            estimate = self._solver.estimate_qpu_access_time(qubits, num_reads=parameters.reads, **times)
        except (KeyError, ValueError) as error:
            raise Refused(f"{self.name} does not say what a problem takes: {error}") from None
        low, high = self.properties.get("problem_run_duration_range", (0, float("inf")))
        if not low <= estimate <= high:
            raise Refused(
                f"{parameters.reads:,} reads take {estimate:,.0f} us, a problem on {self.name} may take "
                f"{high:,.0f} us: ask for fewer reads"
            )
        return int(estimate + 0.5)

    def submit(self, key: int, label: str, lin: str, quad: str, parameters: Parameters) -> None:
        """Hand a problem to the client's submission queue; what becomes of it is told by `events`."""
        body = {
            "solver": self._solver.identity.dict(),
            "data": {"format": "qp", "lin": lin, "quad": quad, "offset": 0.0},
            "type": "ising",
            "params": self._params(parameters),
            "label": label,
        }
        future = self._open[key] = _Future(key, self._rung, self._solver, None)
        self._accepted.discard(key)  # an earlier problem of this key may have been, and was never looked at
        self._client._submit(Present(result=orjson.dumps(body)), future)

    def is_in_transit(self, key: int) -> bool:
        """Whether a request of this client with the problem is still under way: it may arrive any moment."""
        future = self._open.get(key)
        return future is not None and future.id is None and not future.done()

    def resume(self, key: int, sapi_id: str) -> None:
        """Wait for a problem that was sent before, by whomever."""
        held = self._open.get(key)
        if held is not None and held.id == sapi_id:
            # The client keeps one future for an id: a second one would be forgotten, or the first.
            self._accepted.add(key)
            if held.done():
                self._rung.put(key)
            return
        future = self._open[key] = _Future(key, self._rung, self._solver, sapi_id)
        self._accepted.add(key)
        self._client._jobs.inc()
        self._client._poll(future)

    def next_event(self, timeout_s: float) -> Event | None:
        """The next thing that becomes of a problem; None when nothing does for so long."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                key = self._rung.get(timeout=max(deadline - time.monotonic(), 0.0))
            except queue.Empty:
                return None
            if (event := self._look_at(key)) is not None:
                return event

    def find(self, label: str) -> list[ListedProblem]:
        """The problems that the solver has under exactly this label, earliest first.

        Raises:
            Unavailable: it does not answer.
        """
        return sapi_problems.find(self._client, label)

    def charge_us(self, sapi_id: str) -> int | None:
        """What a completed problem was charged, by its answer; None when that is not kept any more.

        Raises:
            Unavailable: the solver does not answer.
        """
        return sapi_problems.charge_us(self._client, sapi_id)

    def cancel(self, ids: Iterable[str]) -> None:
        """Withdraw problems that still wait; those that run or are done stay as they are.

        Raises:
            Unavailable: the solver does not answer.
        """
        with mapping_errors(), Problems.from_config(self._client.config) as problems:
            problems.cancel_problems(list(ids))

    def _look_at(self, key: int) -> Event | None:
        """What there is to tell of a problem whose bell rang; it may ring more often than there is news."""
        future = self._open.get(key)
        if future is None:
            return None
        sapi_id = None if future.id is None else str(future.id)
        if sapi_id is not None and key not in self._accepted:
            self._accepted.add(key)
            if future.done():
                self._rung.put(key)
            return Accepted(key, sapi_id)
        if not future.done():
            return None
        del self._open[key]
        self._accepted.discard(key)
        return _outcome(key, sapi_id, future, self._client.retry_after_s)

    def _check(self, parameters: Parameters) -> None:
        low, high = self.properties.get("num_reads_range", (1, float("inf")))
        if not low <= parameters.reads <= high:
            raise Refused(f"{parameters.reads:,} reads: {self.name} takes {low:,} to {high:,} in a problem")
        if parameters.annealing_time_us is not None:
            low, high = self.properties.get("annealing_time_range", (0.0, float("inf")))
            if not low <= (time_us := parameters.annealing_time_us) <= high:
                raise Refused(f"an anneal of {time_us:g} us: {self.name} takes {low:g} to {high:g} us")
        if parameters.anneal_schedule is not None:
            points = len(parameters.anneal_schedule)
            if points > (most := self.properties.get("max_anneal_schedule_points", points)):
                raise Refused(f"an anneal schedule of {points} points: {self.name} takes {most}")

    def _params(self, parameters: Parameters) -> dict[str, Any]:
        """What goes with every problem, checked against what the solver knows."""
        # The scale is ours: the solver's own would give each problem another temperature.
        given = {
            "num_reads": parameters.reads,
            "answer_mode": "raw",
            "auto_scale": False,
            **_times(parameters),
        }
        if unknown := sorted(given.keys() - self._solver.parameters.keys()):
            raise Refused(f"{self.name} does not know the parameter {unknown[0]}")
        return given


def _times(parameters: Parameters) -> dict[str, Any]:
    if parameters.anneal_schedule is not None:
        return {"anneal_schedule": [list(point) for point in parameters.anneal_schedule]}
    return {} if parameters.annealing_time_us is None else {"annealing_time": parameters.annealing_time_us}


def _outcome(key: int, sapi_id: str | None, future: Future, retry_after_s: float | None) -> Answered | Failed:
    try:
        answer = future.result()
    except Exception as error:  # noqa: BLE001 - the client sets whatever its threads met; all of it is mapped
        if sapi_id is not None:
            return _after_id(key, sapi_id, error)
        mapped = map_submission_error(error, retry_after_s)
        return Failed(key, None, mapped, ended=not isinstance(mapped, Uncertain))
    try:
        return Answered(key, str(sapi_id), wire.decode_answer(answer))
    except Corrupt as error:
        return Failed(key, sapi_id, Unavailable(f"problem {sapi_id}: {error}"), ended=False)


def _after_id(key: int, sapi_id: str, error: BaseException) -> Failed:
    """What an error means once the id is known: the problem failed, or its answer is to be had later."""
    if isinstance(error, CanceledFutureError):
        return Failed(key, sapi_id, Unavailable(f"problem {sapi_id} was cancelled at the solver"), ended=True)
    if isinstance(error, SolverOfflineError):
        return Failed(key, sapi_id, Offline(f"the solver went offline: {error}"), ended=True)
    if isinstance(error, SolverFailureError):
        return Failed(key, sapi_id, Refused(f"the solver failed problem {sapi_id}: {error}"), ended=True)
    if getattr(error, "error_code", None) == GONE:
        text = f"the solver does not keep the answer of problem {sapi_id} any more: {error}"
        return Failed(key, sapi_id, Unavailable(text), ended=True, spent=True)
    text = f"the answer of problem {sapi_id} could not be fetched: {type(error).__name__}: {error}"
    return Failed(key, sapi_id, Unavailable(text), ended=False)
