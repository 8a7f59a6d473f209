"""The emulated service without HTTP: solvers, their queues, the store, faults. Use it from one event loop."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import sqlite3
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import orjson

from schema.errors import NotFound, ParameterError, reason
from worker.emulator.qpu.errors import Rejected
from worker.emulator.qpu.presets import check_name
from worker.emulator.qpu.solver import GATE_CATEGORIES, EmulatedSolver
from worker.emulator.service.faults import Fault, FaultKind, Faults, Target, View
from worker.emulator.service.queue import Bell, EmulatedQpu
from worker.emulator.service.store import AcceptedProblem, CheckedProblem, Status, Store
from worker.emulator.service.submission import Checked, check, read

if TYPE_CHECKING:
    from worker.emulator.service.options import EmulatorOptions

log = logging.getLogger("annealq.emulator")

_OFFLINE = "Solver is offline"
_INTERNAL = "Internal SAPI Error"
# Waiting problems are cached in decoded form: 0.4 MB each at most.
_MAX_DECODED = 64
_TRIM_EVERY = 100


class Machine:
    """All solvers of one emulator."""

    def __init__(self, options: EmulatorOptions) -> None:
        """Open the store and make the solvers of ``options``; `start` starts them.

        Raises:
            StorageError: the state file cannot be used.
            ParameterError: the solvers cannot be made.
        """
        self.options = options
        wanted = options.models()
        self.store = Store(options.state)
        self.faults = Faults(options.sampling.seed)
        self.faults.active += options.faults
        self.bell = Bell()
        self.restore_options()
        self.solvers: dict[str, EmulatedSolver] = {}
        self._qpus: dict[str, EmulatedQpu] = {}
        self._decoded: dict[str, Checked] = {}
        self._finished = 0
        self._stopping = threading.Event()
        self._pool = ThreadPoolExecutor(options.threads, "sampling")
        self._tasks: list[asyncio.Task[None]] = []
        self._member_key = self.store.member_key
        self._renames = self.store.renames()
        for first_name, model in wanted.items():
            name = self._current(first_name)
            generation, online = self.store.solver(name)
            self.solvers[name] = EmulatedSolver.make(name, model, options.graph_seed, generation)
            self._qpus[name] = EmulatedQpu(options.clock, options.threads + 1, self._sample, self._done)
            self._qpus[name].online = online

    def restore_options(self) -> None:
        """Set what can be changed on demand as it was at start.

        ``max_queued`` limits a member's queue, or that of all members (``shared_queue``); ``gate_solver`` is
        the category of the gate-model solver, None for no such solver. A problem is charged its QPU time
        divided by ``quota_conversion_rate``, in steps of 0.1 us. Reads are drawn at ``temperature`` times
        that of their chip.
        """
        self.max_queued: int = self.options.max_queued
        self.shared_queue = False
        self.gate_solver: str | None = GATE_CATEGORIES[0] if self.options.gate_solver else None
        self.quota_conversion_rate: float = 1
        self.temperature: float = 1

    def start(self) -> None:
        """Resume problems that were accepted earlier, and start work."""
        for entry in self.store.pending():
            self._enqueue(entry)
        self._tasks = [asyncio.create_task(qpu.run()) for qpu in self._qpus.values()]

    async def stop(self) -> None:
        """Stop at once. Unanswered problems stay accepted in the store."""
        self._stopping.set()
        self.bell.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._pool.shutdown(wait=True, cancel_futures=True)
        self.store.close()

    def member(self, token: str) -> str:
        """Return the name of the member with this ``token``; the name does not reveal the token."""
        return hmac.new(self._member_key, token.encode(), hashlib.sha256).hexdigest()[:16]

    def check(self, items: Sequence[object], member: str) -> list[tuple[CheckedProblem, Checked] | Rejected]:
        """Check the problems ``items`` of a POST of ``member``, each on its own. Safe to call in another
        thread.
        """
        solvers = dict(self.solvers)
        results: list[tuple[CheckedProblem, Checked] | Rejected] = []
        for item in items:
            try:
                results.append(read(item, solvers, member, gate_solver=self.gate_solver is not None))
            except Rejected as rejected:
                results.append(rejected)
        return results

    def accept(
        self, checked: Sequence[tuple[CheckedProblem, Checked] | Rejected], member: str
    ) -> list[AcceptedProblem | Rejected]:
        """Store and enqueue the problems ``checked``; reject those beyond the size of ``member``'s queue."""
        room = self.max_queued - self.store.queued(None if self.shared_queue else member)
        taken = [pair for pair in checked if not isinstance(pair, Rejected)][: max(room, 0)]
        entries = self.store.accept([self._fated(submission) for submission, _ in taken])
        for entry, (_, decoded) in zip(entries, taken, strict=True):
            if not self.online(entry.solver):
                self._fail(entry, _OFFLINE)
                continue
            if len(self._decoded) < _MAX_DECODED:
                self._decoded[entry.id] = decoded
            self._enqueue(entry)
        accepted = iter(self.entries([entry.id for entry in entries], member))
        full = Rejected(
            f"Maximum number of queued problems exceeded: {self.max_queued:,}; wait for some to end"
        )
        return [result if isinstance(result, Rejected) else next(accepted, full) for result in checked]

    def entries(self, ids: Sequence[str], member: str) -> list[AcceptedProblem]:
        """Return ``member``'s problems with these ``ids``, in their order, without unknown ones."""
        entries = self.store.entries(list(dict.fromkeys(ids)), member)
        return [self._in_progress(entries[name]) for name in ids if name in entries]

    def known(self, ids: Sequence[str], member: str, view: View) -> list[AcceptedProblem]:
        """Return ``member``'s problems with these ``ids``, in their order, in the ``view`` of a request.

        Raises:
            Rejected: one of them does not exist (404), or was purged (404 or 410).
        """
        entries = self.entries(ids, member)
        if len(entries) < len(ids):
            missing = min(set(ids) - {entry.id for entry in entries})
            raise Rejected(f"Problem does not exist or apitoken does not have access: {missing!r:.80}", 404)
        oldest = self._oldest(member, view)
        for entry in entries:
            if entry.gone or entry.number < oldest:
                raise Rejected(f"Problem is no longer accessible: {entry.id}", entry.gone or view.status)
        return entries

    def search(
        self,
        member: str,
        view: View,
        *,
        label: str,
        solver: str | None,
        statuses: Sequence[Status],
        limit: int,
    ) -> list[AcceptedProblem]:
        """Return ``member``'s problems, newest first and at most ``limit``; see `Store.search`.

        ``label``, ``solver`` and ``statuses`` select among those in the ``view`` of a request.
        """
        wanted, oldest = set(statuses), self._oldest(member, view)
        stored = {Status.PENDING if status is Status.IN_PROGRESS else status for status in wanted}
        entries = self.store.search(member, label=label, solver=solver, statuses=sorted(stored))
        current = [self._in_progress(entry) for entry in entries if _is_listed(entry, oldest, view.lag_s)]
        return [entry for entry in current if not wanted or entry.status in wanted][:limit]

    def cancel(self, entry: AcceptedProblem) -> AcceptedProblem:
        """Cancel the waiting problem ``entry``.

        Raises:
            Rejected: with code 202 when it is running and will finish; with 409 when it has finished.
        """
        if entry.status is Status.IN_PROGRESS:
            raise Rejected("Attempting to cancel problem in progress.", 202)
        if not self.store.cancel(entry):
            raise Rejected("Problem has been finished.", 409)
        if (name := self._current(entry.solver)) in self._qpus:
            self._qpus[name].remove(entry)
        self._ended(entry)
        return self.entries([entry.id], entry.member)[0]

    def load(self, solver: EmulatedSolver) -> float:
        """Return the waiting problems of ``solver`` as a fraction of one member's queue limit."""
        return min(1.0, self._qpus[solver.name].waiting / max(self.options.max_queued, 1))

    def online(self, name: str) -> bool:
        return self._qpus[self._current(name)].online

    def set_online(self, name: str, *, online: bool) -> None:
        """Take the solver ``name`` offline or ``online``; while it is offline, its queue stands still.

        Raises:
            NotFound: the solver is unknown.
        """
        solver = self._solver(name)
        self.store.save_solver(name, solver.generation, online=online)
        self._qpus[name].online = online

    def abandon(self, name: str) -> None:
        """Take the solver ``name`` offline, and fail all of its accepted problems, free of charge.

        Raises:
            NotFound: the solver is unknown.
        """
        self.set_online(name, online=False)
        for entry in self._pending(name):
            self._qpus[name].remove(entry)
            self._fail(entry, _OFFLINE)

    def rename(self, old: str, new: str) -> None:
        """Call the solver ``old`` ``new``; its graph and its accepted problems stay.

        Raises:
            NotFound: the solver is unknown.
            ParameterError: the new name is malformed or taken.
        """
        solver = self._solver(old)
        check_name(new)
        if new in self.solvers:
            raise ParameterError(f"a solver is called {new} already; choose another name")
        self.store.save_solver(new, solver.generation, online=self.online(old))
        self.store.save_rename(old, new)
        self._renames = self.store.renames()
        del self.solvers[old]
        self.solvers[new] = replace(solver, name=new)
        self._qpus[new] = self._qpus.pop(old)

    def check_regraph(self, names: Sequence[str]) -> None:
        """Raise ParameterError if the working graph of one of the solvers ``names`` cannot change."""
        for name in names:
            self._solver(name).check_regraph()

    def regraph(self, name: str) -> EmulatedSolver:
        """Give the solver ``name`` another working graph; problems that wait for the old one fail.

        Raises:
            NotFound: the solver is unknown.
        """
        old = self._solver(name)
        new = EmulatedSolver.make(name, old.model, self.options.graph_seed, old.generation + 1)
        self.store.save_solver(name, new.generation, online=self.online(name))
        self.solvers[name] = new
        running = self._qpus[name].running
        for entry in self._pending(name):
            if running is None or entry.id != running.id:
                self._qpus[name].remove(entry)
                self._enqueue(entry)
        return new

    def _pending(self, name: str) -> list[AcceptedProblem]:
        return [entry for entry in self.store.pending() if self._current(entry.solver) == name]

    def _current(self, name: str) -> str:
        """Return today's name of the solver that was called ``name``."""
        while name in self._renames:
            name = self._renames[name]
        return name

    def _oldest(self, member: str, view: View) -> int:
        """Return the number of the oldest problem of ``member`` that is in ``view``."""
        return 0 if view.newest is None else self.store.oldest_of_newest(member, view.newest)

    def _fated(self, submission: CheckedProblem) -> CheckedProblem:
        """Return an accepted problem with its time and its end under the active faults."""
        faults = self.faults.pick(Target.PROBLEM)
        spreads = [fault.spread or 0.0 for fault in faults if fault.kind is FaultKind.MISPROGRAM]
        submission = replace(
            submission,
            access_us=submission.access_us * self.faults.charge_factor(faults),
            misprogrammed=max(spreads, default=0.0),
        )
        failure: Fault | None = next((fault for fault in faults if fault.kind is FaultKind.FAIL), None)
        if failure is None:
            return submission
        message = failure.message or _INTERNAL
        return replace(submission, fault=message, fault_charged=failure.charged)

    def _solver(self, name: str) -> EmulatedSolver:
        if name not in self.solvers:
            raise NotFound(f"unknown solver {name!r:.80}; available: {', '.join(self.solvers)}")
        return self.solvers[name]

    def _enqueue(self, entry: AcceptedProblem) -> None:
        """Enqueue a problem, or fail it where it can no longer be solved."""
        solver = self.solvers.get(self._current(entry.solver))
        if solver is None:
            self._fail(entry, f"the solver {entry.solver} no longer exists")
        elif solver.chip.graph_id != entry.graph_id:
            self._fail(
                entry, f"the graph of {entry.solver} is {solver.chip.graph_id} now, not {entry.graph_id}"
            )
        else:
            self._qpus[solver.name].put(entry)

    def _sample(self, entry: AcceptedProblem) -> Future[bytes]:
        checked, payload = self._decoded.pop(entry.id, None), None
        if checked is None:
            payload = self.store.payload(entry)
        solver = self.solvers[self._current(entry.solver)]
        return self._pool.submit(self._answer, entry, solver, checked, payload)

    def _answer(
        self,
        entry: AcceptedProblem,
        solver: EmulatedSolver,
        checked: Checked | None,
        payload: tuple[bytes, bytes] | None,
    ) -> bytes:
        """Compute an answer, in a thread of the pool; a problem that will fail has none."""
        if entry.fault is not None:
            return b""
        if checked is None:
            data, params = map(orjson.loads, payload or (b"null", b"null"))
            checked = check(solver, entry.type, data, params)
        sampling = self.options.sampling
        sampling = replace(sampling, beta=(sampling.beta or solver.model.beta) / self.temperature)
        answer = checked.answer(
            sampling, entry, self._stopping.is_set, count_raw=self.options.raw_occurrences
        )
        if self._stopping.is_set():
            raise InterruptedError("the emulator stops")
        return answer

    def _done(self, entry: AcceptedProblem, outcome: bytes | BaseException) -> None:
        if self._stopping.is_set():
            return
        charge_us = round(entry.access_us / self.quota_conversion_rate, 1)
        try:
            if entry.fault is not None:
                self.store.fail(entry, entry.fault, charge_us if entry.fault_charged else 0.0)
            elif isinstance(outcome, bytes):
                self.store.complete(entry, outcome, charge_us)
            else:
                log.error("problem %s could not be sampled", entry.id, exc_info=outcome)
                self.store.fail(entry, f"the emulator could not sample: {reason(outcome)}")
            self._ended(entry)
        except sqlite3.Error:
            # A full disk, say. The problem stays accepted; a restart takes it up again.
            log.exception("problem %s has ended, but the state file cannot be written", entry.id)

    def _fail(self, entry: AcceptedProblem, error: str) -> None:
        self.store.fail(entry, error)
        self._ended(entry)

    def _ended(self, entry: AcceptedProblem) -> None:
        self._decoded.pop(entry.id, None)
        self.bell.ring(entry.id)
        self._finished += 1
        if self._finished % _TRIM_EVERY == 0:
            self.store.trim(self.options.keep)

    def _in_progress(self, entry: AcceptedProblem) -> AcceptedProblem:
        qpu = self._qpus.get(self._current(entry.solver))
        running = None if qpu is None else qpu.running
        if entry.status is Status.PENDING and running is not None and running.id == entry.id:
            return replace(entry, status=Status.IN_PROGRESS)
        return entry


def _is_listed(entry: AcceptedProblem, oldest: int, lag_s: float) -> bool:
    """Return whether ``entry`` is not older than number ``oldest`` nor younger than ``lag_s``."""
    age = datetime.now(UTC) - datetime.fromisoformat(entry.submitted_on)
    return entry.number >= oldest and age.total_seconds() >= lag_s


def charged(entries: Sequence[AcceptedProblem]) -> Mapping[str, float]:
    """Return sums over the ledger ``entries``: problems by status, microseconds charged."""
    counts = {status.value: 0 for status in Status if status is not Status.IN_PROGRESS}
    for entry in entries:
        counts[entry.status.value] += 1
    charged_us = round(sum(entry.charged_us for entry in entries), 1)
    return {"accepted": len(entries), **counts, "charged_us": charged_us}
