"""Chooses the size of batches: a solver with qubits charges a full problem, however few images it holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from schema.parameters import MAX_BATCH_SIZE, Parameters, Solver, Visible
from schema.states import EmbeddingState
from schema.tables import Batch, Embedding, Preparation, Run

BATCH_SIZE = 100  # images; large enough that the queue costs under 1 % of sampling them
REMOTE_BATCH_SIZE = 1_000
# A problem of a small folded network holds hundreds of images: of 1,000 images the last problem holds few.
_FIRST_FOLDED = 3_000
# With three problems in a batch, worker and solver wait for each other: up to 20 % fewer images per second.
_PROBLEMS = 8
_LATEST = 50  # runs and dry runs that are searched


def batch_size(session: Session, network: int, solver: Solver, parameters: Parameters) -> int:
    """Return the default number of images in a batch of ``network`` with ``parameters`` on ``solver``.

    For a solver with qubits it is that of the whole problems nearest to `REMOTE_BATCH_SIZE`, at least eight,
    once the number of images in a problem is known or limited.
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
    """Return the images in a full problem, by the newest embedding used for such ``parameters``, or None.

    ``network`` and ``solver`` are those of the embedding's runs.
    """
    wanted = _decisive(parameters.to_dict())
    prepared_ids = _like(session, Preparation, network, solver, wanted)
    run_ids = _like(session, Run, network, solver, wanted)
    prepared = select(Preparation.embedding_id).where(Preparation.id.in_(prepared_ids))
    sampled = select(Batch.embedding_id).where(Batch.run_id.in_(run_ids))
    used = or_(Embedding.id.in_(prepared), Embedding.id.in_(sampled))
    query = select(Embedding.tiles).where(Embedding.state == EmbeddingState.READY, used)
    return session.execute(query.order_by(Embedding.id.desc()).limit(1)).scalar()


def _like(
    session: Session, table: type[Preparation | Run], network: int, solver: Solver, wanted: tuple[Any, ...]
) -> list[int]:
    """Return ids of the latest rows whose parameters lead to the same embedding."""
    query = select(table.id, table.parameters).where(table.network_id == network, table.solver == solver)
    rows = session.execute(query.order_by(table.id.desc()).limit(_LATEST))
    return [row for row, parameters in rows if _decisive(parameters) == wanted]


def _decisive(parameters: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the parameters that, with the network, decide which embedding is used."""
    return tuple(parameters.get(name) for name in ("visible", "tiles", "qpu"))
