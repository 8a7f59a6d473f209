"""What a task needs from its process: the database, the settings, a way to send hints, loaded networks."""

from __future__ import annotations

from dataclasses import dataclass, field

from schema.database import Database
from worker.hints import Hints
from worker.network.registry import Registry
from worker.settings import WorkerSettings


@dataclass(frozen=True)
class Context:
    """Made once in each process, after the fork; passed to every use case."""

    database: Database
    settings: WorkerSettings
    hints: Hints
    networks: Registry = field(default_factory=Registry)
