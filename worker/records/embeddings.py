"""Looks up stored embeddings and chips in SQL. One worker searches for each; others wait."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import structlog
from sqlalchemy import Select, and_, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, aliased

from schema.codecs import chip_graphs, tiling
from schema.codecs.corruption import stored_in
from schema.codecs.tiling import Tiling
from schema.database import Database, record_event, transition
from schema.database.crash_points import CrashPoint, reach
from schema.errors import AnnealqError, Corrupt, Deferred, LeaseLost, Refused, StorageError
from schema.states import EmbeddingState
from schema.tables import Chip, Embedding
from worker.embedding.model.found import FoundTiling, StoredEmbedding
from worker.embedding.model.graphs import Interactions, SolverGraph
from worker.records import claims, leases

log = structlog.get_logger()

# Without this pause after a failed search, every batch of a run would search in vain.
_STAYS_FAILED = timedelta(minutes=10)
_POLL_EVERY_S = 0.5
_REPORT_EVERY_S = 0.5
# A worker that is killed after that many seconds of a search has made progress, so that its batch loses no
# attempt, unless the search takes unreasonably long: it may be what kills the workers.
_PROGRESS_S = 2.0
_MOST_S = 600.0
_DAMAGE_HINT = "remove it with `annealq embeddings prune --all-unused`, or choose another --tiles"

Report = Callable[[str, float], None]


@dataclass(frozen=True)
class EmbeddingRequest:
    """A model to embed on a chip.

    Attributes:
        tiles: maximum number of tiles; 0: as many as fit.
        name: of the model, for display.
    """

    chip: int
    interactions: Interactions
    tiles: int
    name: str


@dataclass(frozen=True)
class SearchJob:
    """What a search starts from and where it reports.

    Attributes:
        report: stores the name of a step, the fraction done, and the time limit in seconds, for users.
        save: stores the best tiling so far: if this worker is killed, the next one continues from it.
        start: a tiling for an earlier graph of the solver.
        found: the best tiling of a search that was interrupted, and its seconds.
    """

    report: Callable[[str, float, float], None]
    save: Callable[[Tiling], None]
    start: Tiling | None = None
    found: tuple[Tiling, float] | None = None


Search = Callable[[SearchJob], FoundTiling]


def store_chip(database: Database, solver: str, graph: SolverGraph, properties: dict[str, Any]) -> int:
    """Return the row of a ``graph`` of ``solver`` in ``database``; insert it if it is new.

    ``properties`` are the solver's own, of which qubits and couplers are stored packed.
    """
    facts = {name: value for name, value in properties.items() if name not in ("qubits", "couplers")}
    packed = chip_graphs.encode(graph.qubits, graph.couplers)
    for _ in range(2):
        try:
            with database.transaction() as session:
                return _find_or_insert_chip(session, solver, graph, facts, packed, now=database.now(session))
        except IntegrityError:
            continue  # another worker inserted it at the same moment
    raise StorageError(f"the graph {graph.graph_id} of solver {graph.name} cannot be stored")


def graphs_of(session: Session, solver: str, name: str) -> list[str]:
    """Read from ``session`` the ids of the graphs of the QPU ``name`` of ``solver``, newest first."""
    query = select(Chip.graph_id).where(Chip.solver == solver, Chip.name == name)
    return list(session.execute(query.order_by(Chip.seen_at.desc(), Chip.id.desc())).scalars())


def obtain(
    database: Database, request: EmbeddingRequest, search: Search, *, lease_s: float, again: bool = False
) -> StoredEmbedding:
    """Look up the embedding of ``request`` in ``database``; if it is missing, ``search`` or wait for it.

    The search holds a lease of ``lease_s`` seconds; while another worker holds it, this call waits. With
    ``again``, a search that failed recently is repeated at once.

    Raises:
        Refused: the model does not fit the chip, or no embedding was found now or recently.
    """
    started = time.monotonic()
    waited = False
    while True:
        with database.transaction() as session:
            now = database.now(session)
            row = _look_up(session, request)
            lease = None
            if row is None:
                lease = _insert(session, request, now=now, lease_s=lease_s)
            elif row.state is EmbeddingState.FAILED and not again and row.finished_at > now - _STAYS_FAILED:
                raise Refused(row.error)
            elif row.state is not EmbeddingState.READY:
                lease = claims.claim_embedding(session, row.id, now=now, lease_s=lease_s)
        if row is not None and row.state is EmbeddingState.READY:
            searched_s = max(time.monotonic() - started, 1e-3) if waited else 0.0
            with stored_in(f"tiling of embedding {row.id}", _DAMAGE_HINT):
                return StoredEmbedding(row.id, tiling.decode(row.tiling), row.seconds, searched_s)
        if lease is not None:
            taken_over = row is not None and row.state is EmbeddingState.SEARCHING
            progress = _SearchProgress(database, lease, lease_s, (row.seconds or 0.0) if taken_over else 0.0)
            found = _read_tiling(row) if taken_over and row.tiling is not None else None
            _search(database, request, progress, search, found)
        else:
            time.sleep(_POLL_EVERY_S)
        waited = True


@dataclass(frozen=True)
class EmbeddingSize:
    """How many ``tiles`` and ``qubits`` an embedding has; ``error``: none was found, in a recent search."""

    tiles: int
    qubits: int
    error: str | None = None


def sizes(
    session: Session, solver: str, digest: str, tiles: int, *, now: datetime
) -> dict[str, EmbeddingSize]:
    """Read from ``session`` the embeddings of a model on the chips of ``solver``, by working graph.

    Args:
        digest: of the interaction graph of the model.
        tiles: maximum number of tiles; 0: as many as fit.
        now: searches that failed long before are left out.
    """
    row = Embedding
    columns = (Chip.graph_id, row.state, row.tiles, row.qubits, row.error, row.finished_at)
    query = select(*columns).join(Chip, Chip.id == row.chip_id)
    where = (Chip.solver == solver, row.graph_sha256 == digest, row.tiles_wanted == tiles)
    found = {}
    for each in session.execute(query.where(*where).order_by(row.state == EmbeddingState.READY, row.id)):
        if each.state is EmbeddingState.READY:
            found[each.graph_id] = EmbeddingSize(each.tiles, each.qubits)
        elif each.state is EmbeddingState.FAILED and each.finished_at > now - _STAYS_FAILED:
            found[each.graph_id] = EmbeddingSize(0, 0, each.error)
    return found


def is_ready(database: Database, embedding: int) -> bool:
    """Return whether ``embedding`` is still in ``database``: users may remove unused ones."""
    with database.reading() as session:
        query = select(Embedding.id).where(Embedding.id == embedding, Embedding.state == EmbeddingState.READY)
        return session.execute(query).first() is not None


def _search(
    database: Database,
    request: EmbeddingRequest,
    progress: _SearchProgress,
    search: Search,
    found: Tiling | None,
) -> None:
    """Search under a lease and store the result or the error."""
    lease, lease_s = progress.lease, progress.lease_s
    earlier = _earlier(database, request)
    start = None if earlier is None else _read_tiling(earlier)
    resumed = None if found is None else (found, progress.earlier_s)
    with leases.keep_alive(database, lease, lease_s):
        try:
            result = search(SearchJob(progress.report, progress.save, start, resumed))
            values = row_values(result)
            reach(CrashPoint.SEARCHING)
            repaired = earlier.id if earlier is not None and result.method == "repaired" else None
            _finish(
                database, lease, EmbeddingState.READY, lease_s, error=None, repaired_from=repaired, **values
            )
        except LeaseLost:
            return  # another worker continues the search
        except Deferred:
            progress.release()
            raise
        except AnnealqError as error:
            _finish(
                database,
                lease,
                EmbeddingState.FAILED,
                lease_s,
                error=str(error),
                tiling=None,
                seconds=progress.spent_s,
            )
            raise
    log.info("embedding found", embedding=lease.row, tiles=values["tiles"], seconds=round(result.seconds, 2))


def _read_tiling(row: Any) -> Tiling | None:
    """Return the tiling to start from, or None if it is damaged and the search starts from scratch."""
    try:
        return tiling.decode(row.tiling)
    except Corrupt as error:
        log.warning("a stored embedding cannot be reused", embedding=row.id, error=str(error))
        return None


def tiling_of(session: Session, embedding: int | None) -> Tiling:
    """Read from ``session`` the tiling of a finished ``embedding``; raise Corrupt if it is damaged."""
    stored = session.execute(select(Embedding.tiling).where(Embedding.id == embedding)).scalar()
    return tiling.decode(stored or b"")


def row_values(result: FoundTiling) -> dict[str, Any]:
    """Return the columns to store for the ``result`` of a search."""
    return {
        "tiling": tiling.encode(result.tiling),
        "tiles": result.tiling.tiles,
        "qubits": len(result.tiling.qubits),
        "longest_chain": result.tiling.longest_chain,
        "seconds": result.seconds,
        "seed": result.seed,
        "method": result.method,
    }


def _find_or_insert_chip(
    session: Session, solver: str, graph: SolverGraph, facts: dict[str, Any], packed: bytes, *, now: datetime
) -> int:
    key = (Chip.solver == solver, Chip.name == graph.name, Chip.graph_id == graph.graph_id)
    chip = session.execute(update(Chip).where(*key).values(seen_at=now).returning(Chip.id)).scalar()
    if chip is not None:
        # Other bytes with the same graph id are damaged: the solver has just sent the correct ones.
        session.execute(update(Chip).where(Chip.id == chip, Chip.graph != packed).values(graph=packed))
        return chip
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


def _look_up(session: Session, request: EmbeddingRequest) -> Any:
    row = Embedding
    columns = (row.id, row.state, row.tiling, row.seconds, row.error, row.finished_at)
    return session.execute(
        select(*columns)
        .where(
            row.graph_sha256 == request.interactions.digest,
            row.chip_id.in_(_same_graph(request.chip)),
            row.tiles_wanted == request.tiles,
        )
        .order_by(row.state != EmbeddingState.READY, row.chip_id != request.chip)
    ).first()


def _same_graph(chip: int) -> Select[int]:
    """Select the chips with the solver and graph of ``chip``: several if the QPU was renamed."""
    here = aliased(Chip)
    same = and_(here.solver == Chip.solver, here.graph_id == Chip.graph_id)
    return select(Chip.id).join(here, same).where(here.id == chip)


def _insert(
    session: Session, request: EmbeddingRequest, *, now: datetime, lease_s: float
) -> leases.Lease | None:
    """Insert a row under our own lease; return None if another worker was faster."""
    values = {
        "graph_sha256": request.interactions.digest,
        "chip_id": request.chip,
        "tiles_wanted": request.tiles,
        "name": request.name,
        "units": request.interactions.units,
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


def _earlier(database: Database, request: EmbeddingRequest) -> Any:
    """Return the newest embedding of the same model on an earlier graph of the same solver, for repair."""
    with database.reading() as session:
        here = session.execute(
            select(Chip.solver, Chip.name, Chip.graph_id).where(Chip.id == request.chip)
        ).one()
        graphs = graphs_of(session, here.solver, here.name)  # also those that it had under another name
        return session.execute(
            select(Embedding.id, Embedding.tiling)
            .join(Chip, Chip.id == Embedding.chip_id)
            .where(
                Embedding.graph_sha256 == request.interactions.digest,
                Embedding.tiles_wanted == request.tiles,
                Embedding.state == EmbeddingState.READY,
                Chip.solver == here.solver,
                Chip.graph_id.in_(set(graphs) - {here.graph_id}),
            )
            .order_by(Embedding.id.desc())
        ).first()


def _finish(
    database: Database, lease: leases.Lease, target: EmbeddingState, lease_s: float, **values: Any
) -> None:
    values |= {"lease_until": None, "progress": None}
    with leases.transaction(database, lease, lease_s) as (session, now):
        source, why = EmbeddingState.SEARCHING, values["error"]
        transition(session, lease.row, source, target, now=now, why=why, finished_at=now, **values)


class _SearchProgress:
    """Stores how far the search under ``lease`` is; ``earlier_s`` were used by workers that were killed."""

    def __init__(self, database: Database, lease: leases.Lease, lease_s: float, earlier_s: float) -> None:
        self.lease, self.lease_s, self.earlier_s = lease, lease_s, earlier_s
        self._database = database
        self._started = time.monotonic()
        self._reported = -np.inf

    @property
    def spent_s(self) -> float:
        return self.earlier_s + time.monotonic() - self._started

    def report(self, step: str, fraction: float, limit_s: float) -> None:
        """Store ``step`` and ``fraction`` of ``limit_s`` for users, and the time used, twice a second."""
        now = time.monotonic()
        if now - self._reported < _REPORT_EVERY_S:
            return
        self._reported = now
        done = {"step": step, "fraction": round(float(fraction), 3), "limit_s": limit_s}
        values: dict[str, Any] = {"progress": done}
        with suppress(StorageError), self._database.transaction() as session:
            if now - self._started >= _PROGRESS_S and self.spent_s < _MOST_S:
                values["saved_at"] = self._database.now(session)
            self._update(session, seconds=self.spent_s, **values)

    def save(self, found: Tiling) -> None:
        """Store ``found``, the best tiling so far; raise LeaseLost if another worker continues the search."""
        with (
            suppress(StorageError),
            leases.transaction(self._database, self.lease, self.lease_s) as (session, now),
        ):
            self._update(session, tiling=tiling.encode(found), seconds=self.spent_s, saved_at=now)

    def release(self) -> None:
        """Let another worker continue the search at once."""
        with (
            suppress(StorageError, LeaseLost),
            leases.transaction(self._database, self.lease, self.lease_s) as (session, now),
        ):
            self._update(session, lease_until=now, seconds=self.spent_s, saved_at=now)

    def _update(self, session: Session, **values: Any) -> None:
        own = (Embedding.id == self.lease.row, Embedding.fence == self.lease.fence)
        session.execute(
            update(Embedding).where(*own, Embedding.state == EmbeddingState.SEARCHING).values(**values)
        )
