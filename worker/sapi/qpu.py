"""A connection to one solver, over dwave-cloud-client: submitting does not wait, answers arrive as events.

The client encodes a problem from a dict of every qubit (11 ms for a full chip) and decodes an answer into a
matrix of all qubits (24 ms). Both are bypassed: problems arrive here encoded and go straight to the client's
submission queue, and answers are decoded by `wire`. The client's own threads send, poll and load.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from typing import Any

import orjson
from dwave.cloud.api import Problems
from dwave.cloud.computation import Future
from dwave.cloud.concurrency import Present

from schema.errors import Refused
from schema.parameters import Parameters, QpuChoice
from schema.solver_limits import check_parameters
from worker.embedding.model.graphs import SolverGraph
from worker.embedding.model.scale import Ranges
from worker.sapi import problems as sapi_problems
from worker.sapi import timing
from worker.sapi.checks import ProblemChecks, Verdict
from worker.sapi.choice import GraphsOf, choose_solver
from worker.sapi.client import Access, Deprecation, connect
from worker.sapi.errors import mapping_errors
from worker.sapi.events import Accepted, Event, read_outcome
from worker.sapi.problems import ListedProblem

# The server answers a poll within `Access.poll_wait_s`. A problem without news for this much longer was left
# out of an answer, or its request hangs.
_SILENCE_S = 10.0
_LOOK_EVERY_S = 1.0

_News = queue.SimpleQueue[int | Verdict]


class _KeyedEvent(threading.Event):
    """An event that also puts a key on a queue when it is set."""

    def __init__(self, key: int, news: _News) -> None:
        super().__init__()
        self._key = key
        self._news = news

    def set(self) -> None:
        super().set()
        self._news.put(self._key)


class _ProblemFuture(Future):  # type: ignore[misc]  # the client has no types
    """A future that puts its key on a queue when its id is known and when it is done; it decodes nothing."""

    def __init__(self, key: int, news: _News, solver: Any, sapi_id: str | None) -> None:
        super().__init__(solver=solver, id_=sapi_id)
        self.heard_at = time.monotonic()
        # The client parses the solver's times, which nobody reads, only while it has none.
        self.time_received = self.time_solved = self.time_created
        event = _KeyedEvent(key, news)
        if sapi_id is None:
            self._id_ready_event = event
        self._add_event(event)

    @property
    def remote_status(self) -> str | None:
        """Return the status that the solver stated last."""
        return self._remote_status

    @remote_status.setter
    def remote_status(self, status: str | None) -> None:
        self._remote_status = status
        self.heard_at = time.monotonic()

    def _decode(self) -> Any:
        self._result = self._message["answer"]
        return self._result


class SolverConnection:
    """One solver of one client. Create it after the fork, use it from one thread, and close it."""

    def __init__(self, access: Access, choice: QpuChoice, graphs_of: GraphsOf | None = None) -> None:
        """Connect by ``access`` to the solver of ``choice``, and read its properties.

        ``graphs_of`` finds solvers that were renamed, as `choose_solver` says.

        Raises:
            Refused: no token, a wrong one, no such solver, or one without qubits.
            Unavailable: it does not answer, or is offline.
        """
        self._client = connect(access)
        with ExitStack() as on_failure:
            on_failure.callback(self._client.close, wait=False)
            chosen = choose_solver(self._client, choice, graphs_of)
            self._solver, self.asked = chosen.solver, chosen.asked
            self.properties: dict[str, Any] = dict(self._solver.properties)
            self.name = str(self._solver.name)
            graph_id = str(self._solver.graph_id or "")
            self.graph = SolverGraph.from_properties(self.name, graph_id, self.properties)
            self.ranges = Ranges.from_properties(self.properties)
            on_failure.pop_all()
        self._news: _News = queue.SimpleQueue()
        self._checks = ProblemChecks(self._client, self._news.put)
        self._silence_s = access.poll_wait_s + _SILENCE_S
        self._looked_at = time.monotonic()
        self._asked: dict[int, _ProblemFuture] = {}  # about which the solver is asked one by one
        self._open: dict[int, _ProblemFuture] = {}
        self._taken: set[Deprecation] = set()
        self._accepted: set[int] = set()

    def take_deprecations(self) -> list[Deprecation]:
        """Return what the service has announced about this solver since the last call."""
        new = [
            found
            for found in self._client.deprecations
            if found.solver in (None, self.name, self.asked) and found not in self._taken
        ]
        self._taken.update(new)
        return new

    def close(self) -> None:
        """Close the connection; submitted problems stay at the solver."""
        self._checks.close()
        self._client.close(wait=False)

    def estimate_us(self, parameters: Parameters, qubits: int) -> int:
        """Return the expected charge of a problem, microseconds; see `timing.estimate_us`.

        Raises:
            Refused: reads or times are out of the solver's ranges; the message names the range.
        """
        check_parameters(self.name, self.properties, parameters)
        return timing.estimate_us(self._solver, parameters, qubits)

    def submit(self, key: int, label: str, lin: str, quad: str, parameters: Parameters) -> None:
        """Queue a problem for submission; `next_event` reports on it under ``key``.

        Args:
            label: by which it can be looked up.
            lin: h, encoded for the wire.
            quad: J, encoded for the wire.
            parameters: of the run.

        Raises:
            Refused: the solver does not know one of the parameters.
        """
        body = {
            "solver": self._solver.identity.dict(),
            "data": {"format": "qp", "lin": lin, "quad": quad, "offset": 0.0},
            "type": "ising",
            "params": self._params(parameters),
            "label": label,
        }
        future = self._open[key] = _ProblemFuture(key, self._news, self._solver, None)
        self._accepted.discard(key)  # an earlier problem of this key may have been, without being read
        self._client._submit(Present(result=orjson.dumps(body)), future)

    def is_in_transit(self, key: int) -> bool:
        """Return True while this client is sending problem ``key``: it may arrive any moment."""
        future = self._open.get(key)
        return future is not None and future.id is None and not future.done()

    def resume(self, key: int, sapi_id: str) -> None:
        """Wait for the problem ``sapi_id``, which this or another client has sent, under ``key``."""
        if key in self._asked and self._asked[key].id == sapi_id:
            return
        future = self._open.get(key)
        if future is not None and future.id == sapi_id:
            # The client has one future for an id: of two, one would be forgotten.
            self._accepted.add(key)
            if future.done():
                self._news.put(key)
            return
        future = self._open[key] = _ProblemFuture(key, self._news, self._solver, sapi_id)
        self._accepted.add(key)
        self._client._jobs.inc()
        self._client._poll(future)

    def next_event(self, timeout_s: float) -> Event | None:
        """Return the next event of any problem, or None if nothing happens within ``timeout_s`` seconds."""
        deadline = time.monotonic() + timeout_s
        self._ask_about_silent()
        while True:
            try:
                news = self._news.get(timeout=max(deadline - time.monotonic(), 0.0))
            except queue.Empty:
                return None
            event = self._read_verdict(news) if isinstance(news, Verdict) else self._read_event(news)
            if event is not None:
                return event

    def find(self, labels: Sequence[str]) -> dict[str, list[ListedProblem]]:
        """Return the solver's problems with exactly each of ``labels``; see `problems.find`."""
        return sapi_problems.find(self._client, labels)

    def newest(self) -> tuple[list[ListedProblem], bool]:
        """Return the newest problems of the account, and whether these are all; see `problems.newest`."""
        return sapi_problems.newest(self._client)

    def knows(self, sapi_id: str) -> bool:
        """Return whether the solver still has the problem ``sapi_id``; see `problems.knows`."""
        return sapi_problems.knows(self._client, sapi_id)

    def charge_us(self, sapi_id: str) -> float | None:
        """Return what the finished problem ``sapi_id`` was charged; see `problems.charge_us`."""
        return sapi_problems.charge_us(self._client, sapi_id, self.properties)

    def cancel(self, ids: Iterable[str]) -> None:
        """Cancel those of the problems ``ids`` that still wait; raise Unavailable without an answer."""
        with mapping_errors(), Problems.from_config(self._client.config) as problems:
            problems.cancel_problems(list(ids))

    def _read_event(self, key: int) -> Event | None:
        """Return the event of a problem that gave notice; it may do so more often than something happens."""
        future = self._open.get(key)
        if future is None:
            return None
        sapi_id = None if future.id is None else str(future.id)
        if sapi_id is not None and key not in self._accepted:
            self._accepted.add(key)
            if future.done():
                self._news.put(key)
            return Accepted(key, sapi_id)
        if not future.done():
            return None
        outcome = read_outcome(key, sapi_id, future, self._client.retry_after_s)
        if outcome is None:
            self._ask(key, future)
            return None
        del self._open[key]
        self._accepted.discard(key)
        return outcome

    def _ask(self, key: int, future: _ProblemFuture) -> None:
        """Ask about an accepted problem alone."""
        self._asked[key] = self._open.pop(key)
        self._checks.ask(key, str(future.id))

    def _ask_about_silent(self) -> None:
        """Ask about each accepted problem that polls have not mentioned for long."""
        now = time.monotonic()
        if now - self._looked_at < _LOOK_EVERY_S:
            return
        self._looked_at = now
        for key, future in list(self._open.items()):
            if future.id is not None and not future.done() and now - future.heard_at > self._silence_s:
                self._ask(key, future)

    def _read_verdict(self, verdict: Verdict) -> Event | None:
        """Return the event of ``verdict``; wait again for a problem that has not finished."""
        key, future = verdict.key, self._asked.get(verdict.key)
        if future is None or future.id != verdict.sapi_id:
            return None
        del self._asked[key]
        if verdict.outcome is not None:
            self._accepted.discard(key)
            return verdict.outcome
        if future.done():
            self.resume(key, verdict.sapi_id)
        else:  # the client may still know it, and has one future for an id
            future.heard_at = time.monotonic()
            self._open[key] = future
            self._client._poll(future)
        return None

    def _params(self, parameters: Parameters) -> dict[str, Any]:
        """Return the parameters of a problem, under names that the solver knows."""
        # The scale is ours: the solver's own would give each problem another temperature.
        params = {
            "num_reads": parameters.reads,
            "answer_mode": "raw",
            "auto_scale": False,
            **timing.anneal_parameters(parameters),
        }
        if unknown := sorted(params.keys() - self._solver.parameters.keys()):
            raise Refused(f"{self.name} does not know the parameter {unknown[0]}")
        return params
