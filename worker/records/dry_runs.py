"""Reads and writes of preparations: what is found out about a run before anything is sent."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from schema.database import transition
from schema.parameters import Parameters, Solver
from schema.states import PreparationState
from schema.tables import Preparation


@dataclass(frozen=True)
class DryRunRequest:
    """What a preparation is asked for. images: 0 where only the embedding is wanted."""

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

    solver, graph_id: the solver that was chosen. tiles: images in a problem. found: the embedding was stored
    already; search_s: what its search took, whenever. qubits, longest_chain: of all tiles together.
    chain_strength: in the model's units; scale: what h and J are multiplied by. problems: in all; qpu_us:
    what they will be charged; qpu_us_per_image: for each of ``images``, None without images.
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


def load(session: Session, preparation: int) -> DryRunRequest:
    """Read a preparation that exists."""
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


def report(session: Session, preparation: int, step: str, fraction: float) -> None:
    """Show a search's progress to whoever watches."""
    session.execute(
        update(Preparation)
        .where(Preparation.id == preparation, Preparation.state == PreparationState.PREPARING)
        .values(progress={"step": step, "fraction": round(fraction, 3)})
    )


def store(session: Session, preparation: int, plan: DryRunPlan, *, now: datetime) -> None:
    """Keep the plan; the caller holds the lease."""
    transition(
        session,
        preparation,
        PreparationState.PREPARING,
        PreparationState.READY,
        now=now,
        plan=asdict(plan),
        embedding_id=plan.embedding_id,
        lease_until=None,
        progress=None,
        error=None,
        finished_at=now,
    )
