"""Every SELECT on embeddings made for people, as frozen dataclasses."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, and_, exists, func, select
from sqlalchemy.orm import Session, aliased

from schema.codecs import tiling
from schema.codecs.corruption import stored_in
from schema.codecs.tiling import Tiling
from schema.errors import AnnealqError, NotFound
from schema.network.architecture import Architecture
from schema.parameters import Visible
from schema.states import EmbeddingState
from schema.tables import Batch, Chip, Embedding, Network, Preparation, Problem, Run


@dataclass(frozen=True)
class EmbeddingSummary:
    """An embedding as `embeddings list` and `embeddings show` print it."""

    embedding_id: int
    name: str  # the network it was first needed for
    solver: str  # emulator or dwave
    chip_id: int
    chip: str  # the solver's own name
    graph_id: str
    current: bool  # the solver had this graph when it was last met
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
    problems: int  # that used it
    progress: dict[str, Any] | None
    error: str | None
    created_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True)
class UnitLayers:
    """The layers of units that an embedding's chains stand for, in Q's order, classes last."""

    kinds: tuple[str, ...]
    sizes: tuple[int, ...]

    @classmethod
    def of(cls, architecture: dict[str, Any], visible: str) -> UnitLayers:
        """Of a network; folded visible units are no longer there."""
        read = Architecture.from_dict(architecture)
        kinds = tuple(str(layer["kind"]) for layer in read.summary()["units"])
        first = 1 if visible == Visible.FOLDED else 0
        return cls(kinds[first:], read.sizes[first:])


def summaries(session: Session) -> list[EmbeddingSummary]:
    """All embeddings, newest first."""
    return [_summary(row) for row in session.execute(_query().order_by(Embedding.id.desc()))]


def embedding(session: Session, embedding_id: int) -> EmbeddingSummary:
    """One embedding; raises NotFound."""
    row = session.execute(_query().where(Embedding.id == embedding_id)).first()
    if row is None:
        raise NotFound(f"no embedding {embedding_id}: `annealq embeddings list` shows what there is")
    return _summary(row)


def read_tiling(session: Session, embedding_id: int) -> Tiling:
    """The chains of an embedding that exists.

    Raises:
        AnnealqError: it has none, or not yet. Corrupt: its bytes are damaged.
    """
    row = session.execute(select(Embedding.state, Embedding.tiling).where(Embedding.id == embedding_id)).one()
    if row.tiling is None:
        raise AnnealqError(f"embedding {embedding_id} is {row.state}: it has no chains")
    with stored_in(f"tiling of embedding {embedding_id}", "choose another --tiles for new runs"):
        return tiling.decode(row.tiling)


def unit_layers(session: Session, embedding_id: int, units: int) -> UnitLayers | None:
    """What the units of an embedding are, by a network that it was needed for; None where none is known."""
    asked = select(Preparation.network_id).where(Preparation.embedding_id == embedding_id)
    sampled = (
        select(Run.network_id)
        .join(Batch, Batch.run_id == Run.id)
        .where(Batch.embedding_id == embedding_id)
        .distinct()
    )
    rows = session.execute(
        select(Network.architecture).where(Network.id.in_(asked.union(sampled))).order_by(Network.id)
    )
    known = [UnitLayers.of(architecture, visible) for architecture in rows.scalars() for visible in Visible]
    return next((found for found in known if sum(found.sizes) == units), None)


def layers_of_run(session: Session, run_id: int) -> UnitLayers:
    """What the units of a run are, which its figures on chains speak of."""
    row = session.execute(
        select(Network.architecture, Run.parameters)
        .join(Run, Run.network_id == Network.id)
        .where(Run.id == run_id)
    ).one()
    return UnitLayers.of(row.architecture, row.parameters["visible"])


def _query() -> Select[Embedding, str, str, str, bool, int]:
    later = aliased(Chip)
    outdated = exists().where(
        and_(
            later.solver == Chip.solver,
            later.name == Chip.name,
            (later.seen_at > Chip.seen_at) | and_(later.seen_at == Chip.seen_at, later.id > Chip.id),
        )
    )
    used = (
        select(Problem.embedding_id, func.count().label("problems")).group_by(Problem.embedding_id).subquery()
    )
    return (
        select(Embedding, Chip.solver, Chip.name, Chip.graph_id, ~outdated, func.coalesce(used.c.problems, 0))
        .join(Chip, Chip.id == Embedding.chip_id)
        .outerjoin(used, used.c.embedding_id == Embedding.id)
    )


def _summary(row: Row[Embedding, str, str, str, bool, int]) -> EmbeddingSummary:
    held, solver, chip, graph_id, current, problems = row
    return EmbeddingSummary(
        embedding_id=held.id,
        name=held.name,
        solver=solver,
        chip_id=held.chip_id,
        chip=chip,
        graph_id=graph_id,
        current=bool(current),
        state=held.state,
        units=held.units,
        tiles_wanted=held.tiles_wanted,
        tiles=held.tiles,
        qubits=held.qubits,
        longest_chain=held.longest_chain,
        seconds=held.seconds,
        method=held.method,
        seed=held.seed,
        repaired_from=held.repaired_from,
        problems=problems,
        progress=held.progress,
        error=held.error,
        created_at=held.created_at,
        finished_at=held.finished_at,
    )
