"""What a task needs from its process: the database, the settings, where hints and figures go, networks, and
linear parts of the latest batches."""

from __future__ import annotations

from dataclasses import dataclass, field

from schema.database import Database
from worker.hints import Hints
from worker.linear import LatestParts
from worker.meter import Meter, Silent
from worker.network.registry import Registry
from worker.settings import WorkerSettings
from worker.solvers import Solvers


@dataclass(frozen=True)
class Context:
    """Made once in each process, after the fork; passed to every use case."""

    database: Database
    settings: WorkerSettings
    hints: Hints
    meter: Meter = field(default_factory=Silent)
    networks: Registry = field(default_factory=Registry)
    solvers: Solvers = field(init=False)
    linear_parts: LatestParts = field(default_factory=LatestParts)

    def __post_init__(self) -> None:
        object.__setattr__(self, "solvers", Solvers(self.settings))
