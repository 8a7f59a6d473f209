"""The ledger of problems: a row is written before a problem is submitted, and says what is known of it.

    reserved -> sending -> sent -> answered, or failed, cancelled

Everything that may cost money is committed before it happens: a problem in `sending` may have been submitted,
so a worker looks it up by its label before it submits it again.
"""

from __future__ import annotations

import secrets
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Insert, func, insert, select, update
from sqlalchemy.orm import Session

from schema.codecs import samples
from schema.database import record_event, transition, transition_all, transition_each
from schema.parameters import Solver
from schema.states import BatchState, ProblemState
from schema.tables import Batch, Event, Ledger, Problem, Run, SampleSet

LABEL = "annealq:"
KEYED_LABEL = 48  # characters of a label with the key of its database; earlier ones lack it
OFFLINE = "offline: "  # the error of a problem that failed because of its solver begins with this
_WITNESSES = 3
MOST_SENDS = 3  # problems with the same image that may fail before it is given up
_LIVE = (ProblemState.RESERVED, ProblemState.SENDING, ProblemState.SENT, ProblemState.ANSWERED)


@dataclass(frozen=True)
class LedgerEntry:
    """A row of the ledger: one problem of a batch."""

    id: int
    ordinal: int  # within the batch
    first_image: int  # within the batch
    count: int
    first_tile: int  # that its first image lies on
    label: str
    sapi_id: str | None
    state: ProblemState
    embedding_id: int | None
    sending_at: datetime | None
    qpu: str | None = None  # that it was sent to
    graph_id: str | None = None
    coupling_bias: float | None = None  # that it was sent with


@dataclass(frozen=True)
class ProblemTerms:
    """Parameters of all problems of a batch, stored with each of them."""

    embedding_id: int
    graph_id: str
    scale: float
    chain_strength: float
    tiles: int  # of the embedding
    # QPU time of a problem by its number of images, and the tile of the first
    estimate_us: Callable[[int, int], int]


def entries(session: Session, batch: int) -> list[LedgerEntry]:
    """Read from ``session`` the problems of ``batch`` in the order of their images, without failed ones."""
    columns = [getattr(Problem, column.name) for column in fields(LedgerEntry)]
    query = select(*columns).where(Problem.batch_id == batch, Problem.state.in_(_LIVE))
    return [LedgerEntry(*row) for row in session.execute(query.order_by(Problem.first_image))]


def were_sent_to(session: Session, solver: Solver, qpu: str | None) -> bool:
    """Return whether ``session`` has problems of any run for ``solver`` and the QPU or features ``qpu``."""
    chosen = Run.parameters["qpu"].as_string()
    same = chosen.is_(None) if qpu is None else chosen == qpu
    query = select(Problem.id).join(Batch, Batch.id == Problem.batch_id).join(Run, Run.id == Batch.run_id)
    return session.execute(query.where(Run.solver == solver, same).limit(1)).first() is not None


def is_awaited() -> ColumnElement[bool]:
    """Build the condition that a batch has problems that the solver has accepted and not answered."""
    return Batch.id.in_(select(Problem.batch_id).where(Problem.state == ProblemState.SENT))


def has_awaited(session: Session, batch: int) -> bool:
    """Return whether ``session`` has problems of ``batch`` that were accepted and not answered."""
    return session.execute(select(Batch.id).where(Batch.id == batch, is_awaited())).first() is not None


@dataclass(frozen=True)
class Failures:
    """Problems of a batch that have failed since it was enqueued or resumed."""

    times: Mapping[int, int]  # by image within the batch
    given_up: Mapping[int, str]  # error by image: it is not sent again


def failures(session: Session, batch: int, graph_id: str) -> Failures:
    """Read from ``session`` which images of ``batch`` were in failed problems for the graph ``graph_id``.

    Failures because of the solver's outages do not count. An image is given up if the solver refused its
    problem, or failed `MOST_SENDS` problems with it.
    """
    resumed = select(func.max(Event.at)).where(
        Event.subject == Batch.__tablename__,
        Event.row == batch,
        Event.source == BatchState.FAILED,
        Event.target == BatchState.PENDING,
    )
    resumed_at = session.execute(resumed).scalar()
    query = select(Problem.first_image, Problem.count, Problem.sapi_id, Problem.error).where(
        Problem.batch_id == batch,
        Problem.state == ProblemState.FAILED,
        Problem.graph_id == graph_id,
        ~Problem.error.startswith(OFFLINE),
    )
    if resumed_at is not None:
        query = query.where(Problem.reserved_at >= resumed_at)
    times: Counter[int] = Counter()
    given_up: dict[int, str] = {}
    for first, count, sapi_id, error in session.execute(query.order_by(Problem.id)):
        for image in range(first, first + count):
            times[image] += 1
            if sapi_id is None or times[image] >= MOST_SENDS:
                given_up[image] = error or ""
    return Failures(times, given_up)


def missing_spans(
    entries: Sequence[LedgerEntry], images: int, tiles: int, given_up: Iterable[int] = ()
) -> list[tuple[int, int]]:
    """Return first image and count of each problem that ``entries`` lack to cover all ``images`` of a batch.

    A problem has at most ``tiles`` images. Images that were ``given_up`` need none.
    """
    covered = [False] * images
    for entry in entries:
        covered[entry.first_image : entry.first_image + entry.count] = [True] * entry.count
    for image in given_up:
        covered[image] = True
    spans: list[tuple[int, int]] = []
    for image in range(images):
        if covered[image]:
            continue
        if spans and sum(spans[-1]) == image and spans[-1][1] < tiles:
            spans[-1] = (spans[-1][0], spans[-1][1] + 1)
        else:
            spans.append((image, 1))
    return spans


def reserve(
    session: Session, batch: int, spans: Sequence[tuple[int, int, int]], terms: ProblemTerms, *, now: datetime
) -> None:
    """Insert reserved problems of ``batch`` at ``now``: first image, count and first tile are in ``spans``.

    ``session`` commits them before the problems of these ``terms`` are submitted. They cost nothing yet.
    """
    last = func.coalesce(func.max(Problem.ordinal), -1)
    ordinal = session.execute(select(last).where(Problem.batch_id == batch)).scalar_one()
    prefix = LABEL + _ledger_key(session, now) if spans else ""
    rows = [
        {
            "batch_id": batch,
            "ordinal": ordinal + index,
            "first_image": first,
            "count": count,
            "first_tile": tile,
            "label": f"{prefix}{uuid.uuid4().hex}",
            "embedding_id": terms.embedding_id,
            "graph_id": terms.graph_id,
            "scale": terms.scale,
            "chain_strength": terms.chain_strength,
            "estimated_us": terms.estimate_us(count, tile),
            "state": ProblemState.RESERVED,
            "reserved_at": now,
        }
        for index, (first, count, tile) in enumerate(spans, start=1)
    ]
    if rows:
        session.execute(insert(Problem.__table__), rows)  # type: ignore[arg-type]


def sent_in_vain(session: Session, batch: int, embedding: int) -> list[tuple[int, int, int]]:
    """Read from ``session`` the problems of ``batch`` with ``embedding`` that were sent and have no answer.

    Returns:
        First image, count and first tile of each.
    """
    query = select(Problem.first_image, Problem.count, Problem.first_tile).where(
        Problem.batch_id == batch,
        Problem.embedding_id == embedding,
        Problem.state.not_in(_LIVE),
        Problem.times_sent > 0,
    )
    return [(first, count, tile) for first, count, tile in session.execute(query)]


def _ledger_key(session: Session, now: datetime) -> str:
    """Return the key of this database, which tells its problems from those of others on the same token."""
    keys = select(Ledger.key).order_by(Ledger.created_at, Ledger.key).limit(1)
    if (key := session.execute(keys).scalar()) is None:
        key = secrets.token_hex(4)
        session.execute(insert(Ledger).values(key=key, created_at=now))
    return key


def accepted_around(session: Session, solver: Solver, moment: datetime) -> tuple[list[str], list[str]]:
    """Return the solver's ids of problems that ``solver`` accepted before ``moment``, and after it.

    They are the few that are nearest to it, nearest first.
    """
    query = select(func.coalesce(Problem.sapi_id, "")).join(Batch, Batch.id == Problem.batch_id)
    query = query.join(Run, Run.id == Batch.run_id)
    query = query.where(Run.solver == solver, Problem.sapi_id.is_not(None)).limit(_WITNESSES)
    before = query.where(Problem.sent_at < moment, Problem.sending_at < moment)
    before = before.order_by(Problem.sending_at.desc())
    after = query.where(Problem.sending_at > moment).order_by(Problem.sending_at)
    return list(session.execute(before).scalars()), list(session.execute(after).scalars())


def cancel_reserved(session: Session, ids: Iterable[int], *, now: datetime) -> None:
    """Cancel at ``now`` those problems ``ids`` that are still reserved, because their terms have changed.

    None of them was submitted in ``session`` or before.
    """
    reserved, cancelled = ProblemState.RESERVED, ProblemState.CANCELLED
    transition_all(session, list(ids), reserved, cancelled, now=now, why="other terms")


def mark_sending(
    session: Session, digests: Mapping[int, str], qpu: str, coupling_bias: float = 0.0, *, now: datetime
) -> None:
    """Record that problems may have been submitted from ``now`` on, once ``session`` commits.

    ``qpu`` is the name of their solver, and their h make up for its ``coupling_bias``. ``digests`` are of
    problems as they are sent; see `worker.sapi.wire.problem_digest`.

    Raises:
        StaleState: one of them is no longer reserved.
    """
    common: dict[str, Any] = {"sending_at": now, "qpu": qpu, "coupling_bias": coupling_bias}
    rows = {problem: {**common, "sent_sha256": digest} for problem, digest in digests.items()}
    transition_each(session, rows, ProblemState.RESERVED, ProblemState.SENDING, now=now)
    again = update(Problem).where(Problem.id.in_(list(digests)))
    session.execute(again.values(times_sent=Problem.times_sent + 1))


def mark_sent(session: Session, ids: Mapping[int, str], *, now: datetime, adopted: bool = False) -> None:
    """Store in ``session`` that the solver accepted problems at ``now``.

    Args:
        ids: the solver's id of each problem.
        adopted: the problems were found by their labels.

    Raises:
        StaleState: one of them is no longer being sent.
    """
    why = "found by its label" if adopted else None
    rows = {
        problem: {"sapi_id": sapi_id, "sent_at": now, "adopted": adopted} for problem, sapi_id in ids.items()
    }
    transition_each(session, rows, ProblemState.SENDING, ProblemState.SENT, now=now, why=why)


def mark_cancelled(session: Session, problem: int, why: str, *, now: datetime) -> None:
    """Record in ``session`` that the solver cancelled ``problem`` by ``now``, at no cost, and ``why``."""
    transition(session, problem, ProblemState.SENT, ProblemState.CANCELLED, now=now, why=why)


def requeue(
    session: Session, problem: int, why: str, *, now: datetime, recheck_at: datetime | None = None
) -> None:
    """Allow ``problem`` to be submitted again at ``now``: the solver does not know it.

    Args:
        why: stored with it.
        recheck_at: when to look if it has arrived nevertheless; None: that is certain not to be.
    """
    later = {} if recheck_at is None else {"recheck_at": recheck_at, "rechecks": 0}
    transition(session, problem, ProblemState.SENDING, ProblemState.RESERVED, now=now, why=why, **later)


def mark_failed(
    session: Session,
    problem: int,
    source: ProblemState,
    why: str,
    *,
    now: datetime,
    timing: Mapping[str, float] | None = None,
    charged_us: float | None = None,
) -> None:
    """Record in ``session`` that the solver refused or failed ``problem`` by ``now``, and ``why``.

    Args:
        source: state of the problem before.
        timing: the solver's own figures, microseconds, if it charged the problem nevertheless.
        charged_us: its charge then, microseconds; None: not stated, so the estimate counts.
    """
    charge: dict[str, Any] = {}
    if timing and charged_us is not None:
        charge = {"timing": dict(timing), "wasted_us": charged_us}
    elif timing:
        estimate = func.coalesce(Problem.estimated_us, 0)
        charge = {"timing": dict(timing), "wasted_us": estimate, "charge_estimated": True}
    transition(session, problem, source, ProblemState.FAILED, now=now, why=why, error=why, **charge)


def write_off(
    session: Session,
    problem: int,
    source: ProblemState,
    why: str,
    *,
    now: datetime,
    recheck_at: datetime | None = None,
) -> None:
    """Record in ``session`` that nobody can tell any more by ``now`` if ``problem`` was charged, and ``why``.

    Its estimate counts as its charge.

    Args:
        source: its state before.
        recheck_at: when to look for it again; None: as was decided before.
    """
    values = {"error": why, "wasted_us": func.coalesce(Problem.estimated_us, 0), "charge_estimated": True}
    later = {} if recheck_at is None else {"recheck_at": recheck_at}
    transition(session, problem, source, ProblemState.FAILED, now=now, why=why, **values, **later)


def record_duplicates(session: Session, problem: int, duplicates: int, *, now: datetime) -> None:
    """Store in ``session`` that the solver has ``duplicates`` of ``problem``, found at ``now``."""
    session.execute(update(Problem).where(Problem.id == problem).values(duplicates=duplicates))
    why = f"{duplicates} duplicates"
    record_event(session, "problems", problem, None, ProblemState.SENT, now=now, why=why)


@dataclass(frozen=True)
class ProblemReads:
    """Raw reads of an answered problem, as of `schema.codecs.samples`, and the solver's own timing.

    ``charged_us`` is its charge, microseconds; None: the solver stated none.
    """

    problem: int
    data: bytes
    reads: int
    qubits: int
    timing: dict[str, Any]
    charged_us: float | None
    measured: dict[str, Any] | None = None  # what the reads say about the chip


def store_answers(session: Session, answers: Sequence[ProblemReads], *, now: datetime) -> None:
    """Store in ``session`` the raw reads of ``answers``, received by ``now``, and what they were charged.

    A charge that the solver did not state is that of the estimate, and marked.

    Raises:
        StaleState: one of the problems is no longer in flight.
    """
    if not answers:
        return
    sample_sets = [
        {
            "problem_id": answer.problem,
            "codec": samples.VERSION,
            "reads": answer.reads,
            "variables": answer.qubits,
            "data": answer.data,
        }
        for answer in answers
    ]
    session.execute(_INSERT_SAMPLES, sample_sets)
    estimates_us = _estimates_us(session, [each.problem for each in answers if each.charged_us is None])
    rows = {
        answer.problem: {
            "timing": answer.timing,
            "charged_us": estimates_us.get(answer.problem, answer.charged_us),
            "charge_estimated": answer.charged_us is None,
            "measured": answer.measured,
            "answered_at": now,
        }
        for answer in answers
    }
    transition_each(session, rows, ProblemState.SENT, ProblemState.ANSWERED, now=now)


def _estimates_us(session: Session, ids: Sequence[int]) -> dict[int, float]:
    if not ids:
        return {}
    rows = session.execute(select(Problem.id, Problem.estimated_us).where(Problem.id.in_(ids)))
    return {problem: float(estimated_us or 0) for problem, estimated_us in rows}


_INSERT_SAMPLES: Insert = insert(SampleSet.__table__)  # type: ignore[arg-type]
