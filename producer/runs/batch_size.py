"""Chooses the size of batches by the embeddings that are known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from schema.parameters import Parameters, Solver
from schema.parameters.batch_sizes import default_batch_size, within_bytes
from schema.states import EmbeddingState
from schema.tables import Batch, Embedding, Preparation, Run

_LATEST = 50  # runs and dry runs that are searched


def batch_size(
    session: Session,
    network: int,
    solver: Solver,
    parameters: Parameters,
    image_bytes: int,
    wanted: int | None = None,
) -> int:
    """Return the number of images in a batch of ``network`` with ``parameters`` on ``solver``.

    It is ``wanted``, or else that of `default_batch_size`, by the images in a problem that ``session`` knows;
    fewer if they have too many bytes, of ``image_bytes`` each.
    """
    tiles = tiles_known(session, network, solver, parameters) if solver.is_remote else None
    size = default_batch_size(solver, parameters, tiles) if wanted is None else wanted
    return within_bytes(size, image_bytes, tiles)


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
