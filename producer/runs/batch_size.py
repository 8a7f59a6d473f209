"""How many images go into a batch: a solver with qubits charges a problem, however few images it carries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from producer.runs.request import MAX_BATCH_SIZE
from schema.parameters import Parameters, Solver, Visible
from schema.states import EmbeddingState
from schema.tables import Batch, Embedding, Preparation, Run

BATCH_SIZE = 100  # images; large enough that the queue costs under 1 % of sampling them
REMOTE_BATCH_SIZE = 1_000
# A problem of a small folded network carries hundreds of images: of a thousand the last one holds few.
_FIRST_FOLDED = 3_000
# With three in a batch, worker and solver wait for each other: up to a fifth fewer images in a second.
_PROBLEMS = 8
_LATEST = 50  # runs and preparations that are looked through


def batch_size(session: Session, network: int, solver: Solver, parameters: Parameters) -> int:
    """Images in a batch where the user does not say.

    Of a solver with qubits: as many whole problems as come nearest to `REMOTE_BATCH_SIZE`, and no fewer than
    eight, once it is known how many images a problem carries, or said how many it may.
    """
    if not solver.is_remote:
        return BATCH_SIZE
    tiles = tiles_known(session, network, solver, parameters) or parameters.tiles
    if tiles is None and parameters.visible == Visible.FOLDED:
        return _FIRST_FOLDED
    if tiles is None or tiles > MAX_BATCH_SIZE:
        return REMOTE_BATCH_SIZE
    problems = max(round(REMOTE_BATCH_SIZE / tiles), _PROBLEMS)
    return tiles * min(problems, MAX_BATCH_SIZE // tiles)


def tiles_known(session: Session, network: int, solver: Solver, parameters: Parameters) -> int | None:
    """Images that a full problem carries, by the newest embedding that a network was used with.

    None: there is none, or not for such parameters.
    """
    wanted = _decisive(parameters.to_dict())
    asked = _like(session, Preparation, network, solver, wanted)
    ran = _like(session, Run, network, solver, wanted)
    prepared = select(Preparation.embedding_id).where(Preparation.id.in_(asked))
    sampled = select(Batch.embedding_id).where(Batch.run_id.in_(ran))
    known = or_(Embedding.id.in_(prepared), Embedding.id.in_(sampled))
    query = select(Embedding.tiles).where(Embedding.state == EmbeddingState.READY, known)
    return session.execute(query.order_by(Embedding.id.desc()).limit(1)).scalar()


def _like(
    session: Session, table: type[Preparation | Run], network: int, solver: Solver, wanted: tuple[Any, ...]
) -> list[int]:
    """The latest rows of a network and a solver whose parameters lead to the same embedding."""
    query = select(table.id, table.parameters).where(table.network_id == network, table.solver == solver)
    rows = session.execute(query.order_by(table.id.desc()).limit(_LATEST))
    return [row for row, parameters in rows if _decisive(parameters) == wanted]


def _decisive(parameters: Mapping[str, Any]) -> tuple[Any, ...]:
    """What the choice of an embedding depends on, beside the network."""
    return tuple(parameters.get(name) for name in ("visible", "tiles", "qpu"))
