"""Read-only queries on embeddings; rows are returned as frozen dataclasses."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, and_, exists, func, select
from sqlalchemy.orm import Session, aliased

from schema.codecs import tiling
from schema.codecs.corruption import stored_in
from schema.codecs.tiling import Tiling
from schema.database.rows import copy_row
from schema.errors import AnnealqError, NotFound
from schema.network.architecture import Architecture
from schema.parameters import Visible
from schema.states import EmbeddingState
from schema.tables import Batch, Chip, Embedding, Network, Preparation, Problem, Run


@dataclass(frozen=True)
class EmbeddingFacts:
    """An embedding without what uses it, which is found by reading all problems."""

    embedding_id: int
    name: str  # the network it was first needed for
    solver: str  # emulator or dwave
    chip_id: int
    chip: str  # the solver's own name
    graph_id: str
    current: bool  # the solver had this graph when it was last contacted
    state: EmbeddingState
    units: int
    tiles_wanted: int  # at most; 0: as many as fit
    tiles: int | None
    qubits: int | None
    longest_chain: int | None
    seconds: float | None
    method: str | None
    seed: int | None
    repaired_from: int | None
    progress: dict[str, Any] | None
    error: str | None
    created_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True)
class EmbeddingSummary(EmbeddingFacts):
    """An embedding as `embeddings list` and `embeddings show` print it."""

    problems: int  # that used it


@dataclass(frozen=True)
class UnitLayers:
    """The layers of units that an embedding's chains represent, in Q's order, classes last."""

    kinds: tuple[str, ...]
    sizes: tuple[int, ...]

    @classmethod
    def of(cls, architecture: dict[str, Any], visible: str) -> UnitLayers:
        """Return the layers of ``architecture``, without its ``visible`` units if these are folded."""
        network = Architecture.from_dict(architecture)
        kinds = tuple(str(layer["kind"]) for layer in network.summary()["units"])
        first = 1 if visible == Visible.FOLDED else 0
        return cls(kinds[first:], network.sizes[first:])


def summaries(session: Session) -> list[EmbeddingSummary]:
    """Return all embeddings in ``session``, newest first."""
    return [_summary(*row) for row in session.execute(_counted().order_by(Embedding.id.desc()))]


def embedding(session: Session, embedding_id: int) -> EmbeddingSummary:
    """Return embedding ``embedding_id`` in ``session``; raise NotFound if there is none."""
    row = session.execute(_counted().where(Embedding.id == embedding_id)).first()
    if row is None:
        raise NotFound(f"embedding {embedding_id} does not exist: see `annealq embeddings list`")
    return _summary(*row)


def stored(session: Session, embedding_ids: Collection[int]) -> list[EmbeddingFacts]:
    """Return those of ``embedding_ids`` that ``session`` has, in the order of their ids."""
    rows = session.execute(_query().where(Embedding.id.in_(embedding_ids)).order_by(Embedding.id))
    return [copy_row(row[0], EmbeddingFacts, **_joined(*row)) for row in rows]


def read_tiling(session: Session, embedding_id: int) -> Tiling:
    """Return the chains of the existing embedding ``embedding_id`` in ``session``.

    Raises:
        AnnealqError: it has none, or not yet.
        Corrupt: its bytes are damaged.
    """
    row = session.execute(select(Embedding.state, Embedding.tiling).where(Embedding.id == embedding_id)).one()
    if row.tiling is None:
        raise AnnealqError(f"embedding {embedding_id} is {row.state}: it has no chains")
    with stored_in(f"tiling of embedding {embedding_id}", "choose another --tiles for new runs"):
        return tiling.decode(row.tiling)


def unit_layers(session: Session, embedding_id: int, units: int) -> UnitLayers | None:
    """Return the layers of the ``units`` of ``embedding_id`` in ``session``; None if no network is known."""
    prepared = select(Preparation.network_id).where(Preparation.embedding_id == embedding_id)
    sampled = (
        select(Run.network_id)
        .join(Batch, Batch.run_id == Run.id)
        .where(Batch.embedding_id == embedding_id)
        .distinct()
    )
    rows = session.execute(
        select(Network.architecture).where(Network.id.in_(prepared.union(sampled))).order_by(Network.id)
    )
    candidates = (UnitLayers.of(row, visible) for row in rows.scalars() for visible in Visible)
    return next((layers for layers in candidates if sum(layers.sizes) == units), None)


def layers_of_run(session: Session, run_id: int) -> UnitLayers:
    """Return the layers of the units of ``run_id`` in ``session``."""
    row = session.execute(
        select(Network.architecture, Run.parameters)
        .join(Run, Run.network_id == Network.id)
        .where(Run.id == run_id)
    ).one()
    return UnitLayers.of(row.architecture, row.parameters["visible"])


def _query() -> Select[Embedding, str, str, str, bool]:
    # A solver that was renamed has a chip for each name, with the same graph.
    same, later = aliased(Chip), aliased(Chip)
    outdated = exists().where(
        and_(
            same.solver == Chip.solver,
            same.graph_id == Chip.graph_id,
            later.solver == same.solver,
            later.name == same.name,
            (later.seen_at > same.seen_at) | and_(later.seen_at == same.seen_at, later.id > same.id),
        )
    )
    query = select(Embedding, Chip.solver, Chip.name, Chip.graph_id, ~outdated)
    return query.join(Chip, Chip.id == Embedding.chip_id)


def _counted() -> Select[Embedding, str, str, str, bool, int]:
    used = (
        select(Problem.embedding_id, func.count().label("problems")).group_by(Problem.embedding_id).subquery()
    )
    query = _query().add_columns(func.coalesce(used.c.problems, 0))
    return query.outerjoin(used, used.c.embedding_id == Embedding.id)


def _summary(
    row: Embedding, solver: str, chip: str, graph_id: str, current: bool, problems: int
) -> EmbeddingSummary:
    values = _joined(row, solver, chip, graph_id, current)
    return copy_row(row, EmbeddingSummary, problems=problems, **values)


def _joined(row: Embedding, solver: str, chip: str, graph_id: str, current: bool) -> dict[str, Any]:
    """Return the fields of a summary of ``row`` that have other names there, or are those of its chip."""
    of_chip = {"solver": solver, "chip": chip, "graph_id": graph_id, "current": bool(current)}
    return {"embedding_id": row.id, **of_chip}
