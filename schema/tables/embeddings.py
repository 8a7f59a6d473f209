"""Tables for solvers with qubits: working graphs, embeddings on them, and dry runs."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from schema.states import EmbeddingState, PreparationState
from schema.tables.columns import Base, Key, Leased, known

IMPORTED = "imported"  # the method of an embedding that no search of ours found


class Chip(Base):
    """A solver's working graph, as the solver first reported it with this graph id."""

    __tablename__ = "chips"

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    solver: Mapped[str] = mapped_column(String(16))  # emulator or dwave: how it is reached
    name: Mapped[str] = mapped_column(String(128))  # of the solver, as it names itself
    graph_id: Mapped[str] = mapped_column(String(64))
    properties: Mapped[dict[str, Any]]  # without its qubits and couplers
    qubits: Mapped[int]  # number
    couplers: Mapped[int]  # number
    graph: Mapped[bytes]  # qubits (Q,) and couplers (M, 2), little-endian int32, zlib
    created_at: Mapped[datetime]
    seen_at: Mapped[datetime]  # when a worker last connected to it
    alarm: Mapped[str | None] = mapped_column(Text)  # what about its latest problems differs from its past
    alarmed_at: Mapped[datetime | None]

    __table_args__ = (
        UniqueConstraint("solver", "name", "graph_id"),
        CheckConstraint("qubits > 0 AND couplers > 0", name="sizes_positive"),
    )


class Embedding(Leased, Base):
    """Chains of physical qubits for one interaction graph on one chip, in as many tiles as were found."""

    __tablename__ = "embeddings"

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    graph_sha256: Mapped[str] = mapped_column(String(64))  # of the interaction graph
    chip_id: Mapped[int] = mapped_column(ForeignKey("chips.id"))
    tiles_wanted: Mapped[int]  # the most; 0: as many as fit
    name: Mapped[str] = mapped_column(Text)  # the network it was first needed for
    units: Mapped[int]  # number of chains in a tile
    state: Mapped[EmbeddingState]
    tiling: Mapped[bytes | None]  # see `schema.codecs.tiling`
    tiles: Mapped[int | None]  # that were found
    qubits: Mapped[int | None]  # that all tiles use
    longest_chain: Mapped[int | None]  # qubits
    seconds: Mapped[float | None]  # of the search
    seed: Mapped[int | None] = mapped_column(BigInteger)  # of the search
    method: Mapped[str | None] = mapped_column(String(32))  # algorithm that found it
    # The embedding on an earlier graph of the same solver that it was repaired from.
    repaired_from: Mapped[int | None] = mapped_column(ForeignKey("embeddings.id"))
    progress: Mapped[dict[str, Any] | None]  # of the search, while it runs
    # While it runs, its best tiling and its seconds are stored, so that another worker can continue it.
    saved_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]

    __table_args__ = (
        UniqueConstraint("graph_sha256", "chip_id", "tiles_wanted"),
        known(EmbeddingState),
        CheckConstraint("tiles_wanted >= 0 AND units > 0", name="sizes_positive"),
        CheckConstraint("state <> 'searching' OR lease_until IS NOT NULL", name="searching_has_lease"),
        CheckConstraint(
            "state <> 'ready' OR (tiling IS NOT NULL AND tiles > 0 AND qubits > 0 AND longest_chain > 0 "
            "AND seconds IS NOT NULL AND method IS NOT NULL)",
            name="ready_has_tiling",
        ),
        CheckConstraint("state <> 'failed' OR error IS NOT NULL", name="failed_says_why"),
    )


class Preparation(Leased, Base):
    """A dry run: finds the chip and the embedding of a run, and estimates its QPU time, before the run."""

    __tablename__ = "preparations"

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    network_id: Mapped[int] = mapped_column(ForeignKey("networks.id"))
    solver: Mapped[str] = mapped_column(String(128))  # emulator or dwave
    parameters: Mapped[dict[str, Any]]  # see `schema.parameters.Parameters`
    images: Mapped[int]  # of the run; 0: only the embedding is needed
    batch_size: Mapped[int]
    time_limit_s: Mapped[float]  # of the search for an embedding
    state: Mapped[PreparationState]
    embedding_id: Mapped[int | None] = mapped_column(ForeignKey("embeddings.id"))
    plan: Mapped[dict[str, Any] | None]  # see `worker.records.dry_runs`
    progress: Mapped[dict[str, Any] | None]  # of the search for an embedding, while it runs
    dispatched_at: Mapped[datetime | None]  # of the latest hint
    finished_at: Mapped[datetime | None]

    __table_args__ = (
        Index(None, "state"),
        known(PreparationState),
        CheckConstraint("images >= 0 AND batch_size > 0 AND time_limit_s > 0", name="sizes_positive"),
        CheckConstraint("state <> 'preparing' OR lease_until IS NOT NULL", name="preparing_has_lease"),
        CheckConstraint(
            "state <> 'ready' OR (plan IS NOT NULL AND finished_at IS NOT NULL)", name="ready_has_plan"
        ),
        CheckConstraint("state <> 'failed' OR error IS NOT NULL", name="failed_says_why"),
    )
