"""Caches one connection per solver and process, and what depends on it. Created after the fork."""

from __future__ import annotations

import time
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cachetools import LRUCache

from schema.errors import Refused
from schema.parameters import Parameters, QpuChoice, Solver
from schema.settings import Settings
from schema.settings import load as load_settings
from schema.settings.tokens import account, accounts
from schema.settings.worker import WorkerSettings
from worker.process import shutdown

if TYPE_CHECKING:
    from worker.embedding.model.found import StoredEmbedding
    from worker.sapi.choice import GraphsOf
    from worker.sapi.client import Access
    from worker.sapi.directory import SolverDirectory
    from worker.sapi.program import ChipProgram
    from worker.sapi.qpu import SolverConnection

_PROGRAMS = 8


@dataclass
class _OpenConnection:
    qpu: SolverConnection
    since: float


@dataclass
class SolverConnections:
    """What a process knows about solvers; used by one thread."""

    settings: WorkerSettings  # of the worker
    shared: Settings = field(default_factory=load_settings)  # with the address of an emulator
    # by connection, digest of the model's graph, and tiles wanted
    embeddings: dict[tuple[SolverConnection, str, int | None], StoredEmbedding] = field(default_factory=dict)
    programs: MutableMapping[tuple[object, ...], ChipProgram] = field(
        default_factory=lambda: LRUCache(maxsize=_PROGRAMS)
    )  # those used last, by model, embedding, chain strength, scale and gauge
    # runs whose QPU was compared with the one that they are sent to, by connection
    pinned: set[tuple[SolverConnection, int]] = field(default_factory=set)
    # by solver, the QPUs that a run may use, and the one that it used before
    _open: dict[tuple[Solver, str | None, str | None], _OpenConnection] = field(default_factory=dict)
    _directories: dict[Solver, SolverDirectory] = field(default_factory=dict)

    def connect(
        self,
        solver: Solver,
        parameters: Parameters,
        used: str | None = None,
        graphs_of: GraphsOf | None = None,
    ) -> SolverConnection:
        """Return the connection to ``solver``, or to the QPU that ``parameters`` name.

        It is made again every few minutes, because the solver's graph may change.

        Args:
            used: the QPU that the run used before, or that the batch is given to: it stays there.
            graphs_of: finds solvers that were renamed, as `choose_solver` says.

        Raises:
            Refused: no access, no such solver, or one without qubits.
            Unavailable: it does not answer, or is offline.
            Deferred: this worker stops.
        """
        from worker.sapi.qpu import SolverConnection

        key = (solver, parameters.qpu, used)
        connection = self._open.get(key)
        if connection and time.monotonic() - connection.since < self.settings.solver_refresh_s:
            return connection.qpu
        self._close([other for other, opened in self._open.items() if opened is connection])
        access = self.access(solver)
        choice = QpuChoice.parse(parameters.qpu).after(used)
        qpu = shutdown.run_interruptible(lambda: SolverConnection(access, choice, graphs_of))
        opened = self._open[key] = _OpenConnection(qpu, time.monotonic())
        self._open.setdefault((solver, parameters.qpu, qpu.name), opened)  # for the next batch of the run
        return qpu

    def directory(self, solver: Solver) -> SolverDirectory:
        """Return the list of the QPUs of the service behind ``solver``; raise Refused without access."""
        from worker.sapi.directory import SolverDirectory

        if solver not in self._directories:
            self._directories[solver] = SolverDirectory(self.access(solver), self.settings.solver_refresh_s)
        return self._directories[solver]

    def disconnect(self, solver: Solver, parameters: Parameters) -> None:
        """Close the connections to ``solver`` with the QPUs that ``parameters`` name, and list them again."""
        self._close([key for key in self._open if key[:2] == (solver, parameters.qpu)])
        if solver in self._directories:
            self._directories.pop(solver).close()

    def close(self) -> None:
        """Close all connections."""
        self._close(list(self._open))
        while self._directories:
            self._directories.popitem()[1].close()

    def _close(self, keys: list[tuple[Solver, str | None, str | None]]) -> None:
        closed = {self._open.pop(key).qpu for key in keys}
        for qpu in closed:
            qpu.close()
        self.embeddings = {key: found for key, found in self.embeddings.items() if key[0] not in closed}
        self.pinned = {key for key in self.pinned if key[0] not in closed}

    def accounts(self) -> dict[str, str]:
        """Return the account of each solver with qubits, by its name."""
        return accounts(self.shared)

    def account(self, solver: Solver) -> str:
        """Return the account by which ``solver`` is used now; empty without a token."""
        return account(solver, self.shared)

    def access(self, solver: Solver) -> Access:
        """Return how ``solver`` is reached.

        Raises:
            Refused: the settings name no emulator, and one is needed.
        """
        from worker.sapi.client import Access

        timeout_s = self.settings.solver_timeout_s
        if solver is not Solver.EMULATOR:
            return Access(request_timeout_s=timeout_s)
        if not self.shared.emulator_url:
            raise Refused(
                "no emulator is configured: add --embedded, start one with `annealq emulator` and set "
                "ANNEALQ_EMULATOR_URL, or use `annealq up --emulator`"
            )
        return Access(
            self.shared.emulator_url,
            self.shared.emulator_token,
            request_timeout_s=timeout_s,
            deflates=False,  # it is near, and short of processors
        )
