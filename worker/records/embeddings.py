"""Embeddings and chips in SQL: searched once, by one worker; the others wait for the row."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import structlog
from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from schema.codecs import tiling
from schema.codecs.corruption import stored_in
from schema.codecs.tiling import Tiling
from schema.database import Database, record_event, transition
from schema.errors import AnnealqError, Corrupt, Refused, StorageError
from schema.states import EmbeddingState
from schema.tables import Chip, Embedding
from worker.embedding.model.graphs import Interactions, SolverGraph
from worker.embedding.search.find import FoundTiling
from worker.process.crash_points import CrashPoint, reach
from worker.records import leases

log = structlog.get_logger()

# A search that failed is not tried again for so long: every batch of a run would otherwise wait for its own.
_STAYS_FAILED = timedelta(minutes=10)
_LOOK_EVERY_S = 0.5
_REPORT_EVERY_S = 0.5
_SEARCH_AGAIN = "remove it with `annealq embeddings prune --all-unused`, or choose another --tiles"

Report = Callable[[str, float], None]
Search = Callable[[Report, Tiling | None], FoundTiling]


@dataclass(frozen=True)
class EmbeddingRequest:
    """What is to be embedded where. tiles: at most; 0: as many as fit. name: for people."""

    chip: int
    interactions: Interactions
    tiles: int
    name: str


@dataclass(frozen=True, eq=False)
class StoredEmbedding:
    """An embedding that is ready. seconds: its search took; searched_s: this call waited for it."""

    id: int
    tiling: Tiling
    seconds: float
    searched_s: float

    @property
    def hit(self) -> bool:
        """Whether it was there already: nothing was searched."""
        return self.searched_s == 0.0


def store_chip(database: Database, solver: str, graph: SolverGraph, properties: dict[str, Any]) -> int:
    """The row of a solver's graph, made when it is first met."""
    facts = {name: value for name, value in properties.items() if name not in ("qubits", "couplers")}
    packed = pack_graph(graph)
    for _ in range(2):
        try:
            with database.transaction() as session:
                return _find_or_insert_chip(session, solver, graph, facts, packed, now=database.now(session))
        except IntegrityError:
            continue  # another worker met it at the same moment
    raise StorageError(f"the graph {graph.graph_id} of solver {graph.name} cannot be stored")


def pack_graph(graph: SolverGraph) -> bytes:
    """Qubits (Q,) and couplers (M, 2), little-endian int32, deflated."""
    return zlib.compress(graph.qubits.astype("<i4").tobytes() + graph.couplers.astype("<i4").tobytes())


def obtain(
    database: Database, wanted: EmbeddingRequest, search: Search, *, lease_s: float
) -> StoredEmbedding:
    """The embedding that is wanted: from the database, or searched now, or waited for while another searches.

    Raises:
        Refused: the model does not fit the chip, or none was found; also when that was found out before.
    """
    started = time.monotonic()
    waited = False
    while True:
        with database.transaction() as session:
            now = database.now(session)
            row = _look(session, wanted)
            lease = None
            if row is None:
                lease = _insert(session, wanted, now=now, lease_s=lease_s)
            elif row.state is EmbeddingState.FAILED and row.finished_at > now - _STAYS_FAILED:
                raise Refused(row.error)
            elif row.state is not EmbeddingState.READY:
                lease = leases.claim_embedding(session, row.id, now=now, lease_s=lease_s)
        if row is not None and row.state is EmbeddingState.READY:
            searched_s = max(time.monotonic() - started, 1e-3) if waited else 0.0
            with stored_in(f"tiling of embedding {row.id}", _SEARCH_AGAIN):
                return StoredEmbedding(row.id, tiling.decode(row.tiling), row.seconds, searched_s)
        if lease is not None:
            _search(database, wanted, lease, search, lease_s)
        else:
            time.sleep(_LOOK_EVERY_S)
        waited = True


def is_ready(database: Database, embedding: int) -> bool:
    """Whether an embedding is still there: unused ones are removed by people."""
    with database.reading() as session:
        query = select(Embedding.id).where(Embedding.id == embedding, Embedding.state == EmbeddingState.READY)
        return session.execute(query).first() is not None


def _search(
    database: Database, wanted: EmbeddingRequest, lease: leases.Lease, search: Search, lease_s: float
) -> None:
    """Search under a lease, and keep what came out, also an error."""
    earlier = _earlier(database, wanted)
    start = None if earlier is None else _start(earlier)
    with leases.keep_alive(database, lease, lease_s):
        try:
            found = search(_reporter(database, lease.row), start)
        except AnnealqError as error:
            with database.transaction() as session:
                now = database.now(session)
                leases.renew(session, lease, now=now, lease_s=lease_s)
                _settle(session, lease.row, EmbeddingState.FAILED, now=now, error=str(error))
            raise
        values = row_values(found)
        reach(CrashPoint.SEARCHING)
        with database.transaction() as session:
            now = database.now(session)
            leases.renew(session, lease, now=now, lease_s=lease_s)
            repaired = earlier.id if earlier is not None and found.method == "repaired" else None
            _settle(
                session,
                lease.row,
                EmbeddingState.READY,
                now=now,
                error=None,
                repaired_from=repaired,
                **values,
            )
    log.info("embedding found", embedding=lease.row, tiles=values["tiles"], seconds=round(found.seconds, 2))


def _start(earlier: Any) -> Tiling | None:
    """The tiling to be repaired; a damaged one is none: the search begins from nothing."""
    try:
        return tiling.decode(earlier.tiling)
    except Corrupt as error:
        log.warning("an earlier embedding cannot be repaired", embedding=earlier.id, error=str(error))
        return None


def row_values(found: FoundTiling) -> dict[str, Any]:
    """What the row holds of an embedding that was found."""
    return {
        "tiling": tiling.encode(found.tiling),
        "tiles": found.tiling.tiles,
        "qubits": len(found.tiling.qubits),
        "longest_chain": found.tiling.longest_chain,
        "seconds": found.seconds,
        "seed": found.seed,
        "method": found.method,
    }


def _find_or_insert_chip(
    session: Session, solver: str, graph: SolverGraph, facts: dict[str, Any], packed: bytes, *, now: datetime
) -> int:
    key = (Chip.solver == solver, Chip.name == graph.name, Chip.graph_id == graph.graph_id)
    found = session.execute(update(Chip).where(*key).values(seen_at=now).returning(Chip.id)).scalar()
    if found is not None:
        # Bytes that differ under one graph id are damaged: the solver has just said what they should be.
        session.execute(update(Chip).where(Chip.id == found, Chip.graph != packed).values(graph=packed))
        return found
    values = {
        "solver": solver,
        "name": graph.name,
        "graph_id": graph.graph_id,
        "properties": facts,
        "qubits": len(graph.qubits),
        "couplers": len(graph.couplers),
        "graph": packed,
        "created_at": now,
        "seen_at": now,
    }
    return session.execute(insert(Chip).values(values).returning(Chip.id)).scalar_one()


def _look(session: Session, wanted: EmbeddingRequest) -> Any:
    columns = (
        Embedding.id,
        Embedding.state,
        Embedding.tiling,
        Embedding.seconds,
        Embedding.error,
        Embedding.finished_at,
    )
    return session.execute(
        select(*columns).where(
            Embedding.graph_sha256 == wanted.interactions.digest,
            Embedding.chip_id == wanted.chip,
            Embedding.tiles_wanted == wanted.tiles,
        )
    ).first()


def _insert(
    session: Session, wanted: EmbeddingRequest, *, now: datetime, lease_s: float
) -> leases.Lease | None:
    """A new row under our own lease; None: another worker was faster."""
    values = {
        "graph_sha256": wanted.interactions.digest,
        "chip_id": wanted.chip,
        "tiles_wanted": wanted.tiles,
        "name": wanted.name,
        "units": wanted.interactions.units,
        "state": EmbeddingState.SEARCHING,
        "fence": 1,
        "attempts": 1,
        "lease_until": now + timedelta(seconds=lease_s),
        "created_at": now,
        "started_at": now,
    }
    try:
        with session.begin_nested():
            row = session.execute(insert(Embedding).values(values).returning(Embedding.id)).scalar_one()
    except IntegrityError:
        return None
    record_event(session, "embeddings", row, None, EmbeddingState.SEARCHING, now=now)
    return leases.Lease(Embedding, row, fence=1, attempt=1)


def _earlier(database: Database, wanted: EmbeddingRequest) -> Any:
    """The newest embedding of the same model on an earlier graph of the same solver, to be repaired."""
    with database.reading() as session:
        here = session.execute(select(Chip.solver, Chip.name).where(Chip.id == wanted.chip)).one()
        return session.execute(
            select(Embedding.id, Embedding.tiling)
            .join(Chip, Chip.id == Embedding.chip_id)
            .where(
                Embedding.graph_sha256 == wanted.interactions.digest,
                Embedding.tiles_wanted == wanted.tiles,
                Embedding.state == EmbeddingState.READY,
                Chip.solver == here.solver,
                Chip.name == here.name,
                Chip.id != wanted.chip,
            )
            .order_by(Embedding.id.desc())
        ).first()


def _settle(session: Session, row: int, target: EmbeddingState, *, now: datetime, **values: Any) -> None:
    transition(
        session,
        row,
        EmbeddingState.SEARCHING,
        target,
        now=now,
        why=values.get("error"),
        lease_until=None,
        progress=None,
        finished_at=now,
        **values,
    )


def _reporter(database: Database, row: int) -> Report:
    """Shows a search's progress to whoever watches, twice a second at most."""
    last = -np.inf

    def report(step: str, fraction: float) -> None:
        nonlocal last
        if time.monotonic() - last < _REPORT_EVERY_S:
            return
        last = time.monotonic()
        with suppress(StorageError), database.transaction() as session:
            session.execute(
                update(Embedding)
                .where(Embedding.id == row, Embedding.state == EmbeddingState.SEARCHING)
                .values(progress={"step": step, "fraction": round(float(fraction), 3)})
            )

    return report
