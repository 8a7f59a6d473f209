"""Connections to solvers with qubits: one for each solver in each process, made after the fork."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from schema.errors import Refused
from schema.parameters import Parameters, Solver
from schema.settings import Settings
from schema.settings import load as load_settings
from worker.process import shutdown
from worker.process.settings import WorkerSettings

if TYPE_CHECKING:
    from worker.records.embeddings import StoredEmbedding
    from worker.sapi.client import Access
    from worker.sapi.program import ChipProgram
    from worker.sapi.qpu import SolverConnection

_KEPT_PROGRAMMES = 8


@dataclass
class _Connection:
    qpu: SolverConnection
    since: float


@dataclass
class SolverConnections:
    """What a process knows of solvers; used by one thread.

    embeddings: by connection, digest of the model's graph, and tiles wanted.
    """

    settings: WorkerSettings
    shared: Settings = field(default_factory=load_settings)
    embeddings: dict[tuple[SolverConnection, str, int | None], StoredEmbedding] = field(default_factory=dict)
    _open: dict[tuple[Solver, str | None], _Connection] = field(default_factory=dict)
    _programmes: OrderedDict[tuple[object, ...], ChipProgram] = field(default_factory=OrderedDict)

    def connect(self, solver: Solver, parameters: Parameters) -> SolverConnection:
        """The connection to a solver; looked at anew every few minutes, as its graph may change.

        Raises:
            Refused: no access, no such solver, or one without qubits.
            Unavailable: it does not answer, or is offline.
            Deferred: this worker stops.
        """
        from worker.sapi.qpu import SolverConnection

        key = (solver, parameters.qpu)
        held = self._open.get(key)
        if held is not None and time.monotonic() - held.since < self.settings.solver_refresh_s:
            return held.qpu
        self.leave(solver, parameters)
        access = self.access(solver)
        qpu = shutdown.run_interruptible(lambda: SolverConnection(access, parameters))
        self._open[key] = _Connection(qpu, time.monotonic())
        return qpu

    def leave(self, solver: Solver, parameters: Parameters) -> None:
        """Close the connection to a solver, where there is one: the next use connects anew."""
        held = self._open.pop((solver, parameters.qpu), None)
        if held is not None:
            held.qpu.close()
            self.embeddings = {key: kept for key, kept in self.embeddings.items() if key[0] is not held.qpu}

    def programme(self, key: tuple[object, ...], make: Callable[[], ChipProgram]) -> ChipProgram:
        """What ``make`` gives for this key, kept for the keys used last."""
        if key not in self._programmes:
            self._programmes[key] = make()
            if len(self._programmes) > _KEPT_PROGRAMMES:
                self._programmes.popitem(last=False)
        self._programmes.move_to_end(key)
        return self._programmes[key]

    def access(self, solver: Solver) -> Access:
        """How a solver is reached; raises Refused where no emulator is known."""
        from worker.sapi.client import Access

        timeout_s = self.settings.solver_timeout_s
        if solver is not Solver.EMULATOR:
            return Access(request_timeout_s=timeout_s)
        if not self.shared.emulator_url:
            raise Refused(
                "no emulator is known: add --embedded, start one with `annealq emulator` and set "
                "ANNEALQ_EMULATOR_URL, or `annealq up --emulator`"
            )
        return Access(
            self.shared.emulator_url,
            self.shared.emulator_token,
            request_timeout_s=timeout_s,
            deflates=False,  # it is near, and processors are what it lacks
        )
