"""Dry runs: a worker finds out what a run would need and cost. Their table is called `preparations`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from producer.networks.chosen import ChosenNetwork
from schema.database import Database, record_event
from schema.database.rows import copy_row
from schema.errors import NetworkError, NotFound, ParameterError
from schema.parameters import MAX_BATCH_SIZE, Parameters, Solver
from schema.states import NetworkState, PreparationState
from schema.tables import Network, Preparation

TIME_LIMIT_S = 60.0  # of a search, by default
_MAX_TIME_LIMIT_S = 86_400.0


@dataclass(frozen=True)
class DryRunSummary:
    """A dry run as the commands show it.

    Attributes:
        plan: its results, empty until it is ready: solver, graph_id, embedding_id, tiles, qubits,
            longest_chain, found (stored already), search_s, chain_strength, scale, images, problems, qpu_us,
            qpu_us_per_image, and the QPUs compared (qpus).
        progress: step and fraction of a running search.
    """

    preparation_id: int
    network: str
    solver: str
    state: PreparationState
    plan: dict[str, Any]
    progress: dict[str, Any] | None
    error: str | None


def check_dry_run(solver: Solver, parameters: Parameters, time_limit_s: float) -> None:
    """Raise ParameterError if ``solver``, ``parameters`` and ``time_limit_s`` do not allow a dry run."""
    if not solver.is_remote:
        remote = " or ".join(other for other in Solver if other.is_remote)
        raise ParameterError(f"solver {solver} does not use embeddings: choose {remote}")
    parameters.check_for(solver)
    if not 0 < time_limit_s <= _MAX_TIME_LIMIT_S:
        raise ParameterError(
            f"the time limit is {time_limit_s:g} s; it must be above 0 and at most {_MAX_TIME_LIMIT_S:,.0f} s"
        )


def enqueue_dry_run(
    database: Database,
    network: int,
    solver: Solver,
    parameters: Parameters,
    *,
    images: int,
    batch_size: int,
    time_limit_s: float = TIME_LIMIT_S,
) -> int:
    """Commit a dry run to ``database``; return its id.

    Args:
        network, solver, parameters: those of the run.
        images: number of images; 0: only the embedding is wanted.
        batch_size: images in a batch, 1 to 10,000.
        time_limit_s: seconds that a search for an embedding may take.

    Raises:
        ParameterError: the solver has no qubits or lacks a parameter, the network cannot do without a source,
            or the time limit is out of range.
        NetworkError: the network is not ready.
    """
    check_dry_run(solver, parameters, time_limit_s)
    if not 1 <= batch_size <= MAX_BATCH_SIZE:
        raise ParameterError(f"batch size is {batch_size}; it must be 1 to {MAX_BATCH_SIZE:,} images")
    values = {
        "network_id": network,
        "solver": solver,
        "parameters": parameters.to_dict(),
        "images": images,
        "batch_size": batch_size,
        "time_limit_s": time_limit_s,
        "state": PreparationState.QUEUED,
    }
    with database.transaction() as session:
        ChosenNetwork.of_row(_ready(session, network)).refuse_without(parameters.without)
        now = database.now(session)
        stamped = {**values, "dispatched_at": now, "created_at": now}
        row = session.execute(insert(Preparation).values(stamped).returning(Preparation.id)).scalar_one()
        record_event(session, "preparations", row, None, PreparationState.QUEUED, now=now)
    return row


def _ready(session: Session, network: int) -> Network:
    row = session.get_one(Network, network)
    if row.state is not NetworkState.READY:
        raise NetworkError(
            f"network {row.name}@{row.version} is {row.state}: `annealq networks list` shows which are ready"
        )
    return row


def get(session: Session, preparation_id: int) -> DryRunSummary:
    """Return the dry run ``preparation_id``, read by ``session``; raise NotFound."""
    row = session.execute(
        select(Preparation, Network.name, Network.version)
        .join(Network, Network.id == Preparation.network_id)
        .where(Preparation.id == preparation_id)
    ).first()
    if row is None:
        raise NotFound(f"no dry run {preparation_id}")
    dry_run, name, version = row
    named, plan = f"{name}@{version}", dry_run.plan or {}
    return copy_row(dry_run, DryRunSummary, preparation_id=dry_run.id, network=named, plan=plan)
