"""Reads and writes of dry runs (table `preparations`): what a run would need and cost."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from schema.parameters import Parameters, Solver
from schema.states import PreparationState
from schema.tables import Preparation
from worker.records.attempts import complete_attempt


@dataclass(frozen=True)
class DryRunRequest:
    """Request for a dry run; ``images`` is 0 if only an embedding is wanted."""

    preparation: int
    network: int
    solver: Solver
    parameters: Parameters
    images: int
    batch_size: int
    time_limit_s: float


@dataclass(frozen=True)
class DryRunPlan:
    """What a run would need and cost.

    Attributes:
        solver: the solver that was chosen, with the graph ``graph_id``.
        tiles: images in a problem.
        qubits: of all tiles together, as is ``longest_chain``.
        found: the embedding was already stored.
        search_s: duration of its search, in this or an earlier run.
        chain_strength: in units of the model.
        scale: factor of h and J.
        problems: of the whole run, in its first round of reads.
        qpu_us: estimated charge of all of these.
        later_qpu_us: of later rounds of reads, at most; it is not among ``qpu_us``.
        qpu_us_per_image: the same for each image, None without images.
        qpus: the QPUs of the service compared; see `worker.qpus.comparison.ComparedQpu`.
    """

    solver: str
    graph_id: str
    embedding_id: int
    tiles: int
    qubits: int
    longest_chain: int
    found: bool
    search_s: float
    chain_strength: float
    scale: float
    images: int
    problems: int
    qpu_us: int
    qpu_us_per_image: float | None
    qpus: list[dict[str, Any]] = field(default_factory=list)
    later_qpu_us: int = 0


def load(session: Session, preparation: int) -> DryRunRequest:
    """Read from ``session`` the request of the dry run ``preparation``, which exists."""
    row = session.execute(select(Preparation).where(Preparation.id == preparation)).scalar_one()
    return DryRunRequest(
        preparation=preparation,
        network=row.network_id,
        solver=Solver(row.solver),
        parameters=Parameters.from_dict(row.parameters),
        images=row.images,
        batch_size=row.batch_size,
        time_limit_s=row.time_limit_s,
    )


def report(session: Session, preparation: int, step: str, fraction: float, limit_s: float) -> None:
    """Store in ``session`` the ``step`` of ``preparation``, and the used ``fraction`` of ``limit_s``."""
    session.execute(
        update(Preparation)
        .where(Preparation.id == preparation, Preparation.state == PreparationState.PREPARING)
        .values(progress={"step": step, "fraction": round(fraction, 3), "limit_s": limit_s})
    )


def store(session: Session, preparation: int, plan: DryRunPlan, *, now: datetime) -> None:
    """Store ``plan`` in ``session`` and make ``preparation`` ready at ``now``; the caller holds its lease."""
    values = {"plan": asdict(plan), "embedding_id": plan.embedding_id, "progress": None}
    complete_attempt(session, Preparation, preparation, now=now, **values)
