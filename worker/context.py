"""Per-process dependencies of a task: database, settings, hints, metrics, networks, solvers, caches."""

from __future__ import annotations

from dataclasses import dataclass, field

from schema.database import Database
from schema.settings.worker import WorkerSettings
from worker.compute.linear_terms import LinearTermsCache, make_cache
from worker.process.hints import Hints
from worker.process.meter import Meter
from worker.records.features.backbones import BackboneCache
from worker.records.networks import Registry
from worker.sapi.connections import SolverConnections


@dataclass(frozen=True)
class Context:
    """Dependencies of every use case. Create one in each process, after the fork."""

    database: Database
    settings: WorkerSettings
    hints: Hints
    meter: Meter = field(default_factory=Meter)
    networks: Registry = field(default_factory=Registry)
    backbones: BackboneCache = field(default_factory=BackboneCache)
    solvers: SolverConnections = field(init=False)
    linear_terms: LinearTermsCache = field(default_factory=make_cache)

    def __post_init__(self) -> None:
        object.__setattr__(self, "solvers", SolverConnections(self.settings))
