"""The ledger of what leaves for a solver: a row exists before a problem does, and says what is known of it.

    reserved -> sending -> sent -> answered, or failed, cancelled

Everything that may cost money is committed before it happens: a problem that is found in `sending` may have
left, and is looked up by its label before anything is sent again.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Insert, and_, case, func, insert, or_, select, update
from sqlalchemy.orm import Session

from schema.codecs import samples
from schema.database import record_event, transition, transition_all, transition_each
from schema.errors import StaleState
from schema.states import ProblemState
from schema.tables import Problem, SampleSet

LABEL = "annealq:"
_LIVE = (ProblemState.RESERVED, ProblemState.SENDING, ProblemState.SENT, ProblemState.ANSWERED)


@dataclass(frozen=True)
class LedgerEntry:
    """A problem of a batch, as its row says."""

    id: int
    first_image: int  # within the batch
    count: int
    label: str
    sapi_id: str | None
    state: ProblemState
    embedding_id: int | None
    sending_at: datetime | None


@dataclass(frozen=True)
class ProblemTerms:
    """On what terms the problems of a batch are sent; all of it is kept with each."""

    embedding_id: int
    graph_id: str
    scale: float
    chain_strength: float
    estimate_us: Callable[[int], int]  # what a problem with so many images will be charged


def entries(session: Session, batch: int) -> list[LedgerEntry]:
    """The problems of a batch that count, in the order of their images; failed ones do not."""
    columns = (
        Problem.id,
        Problem.first_image,
        Problem.count,
        Problem.label,
        Problem.sapi_id,
        Problem.state,
        Problem.embedding_id,
        Problem.sending_at,
    )
    rows = session.execute(
        select(*columns)
        .where(Problem.batch_id == batch, Problem.state.in_(_LIVE))
        .order_by(Problem.first_image)
    )
    return [LedgerEntry(*row) for row in rows]


def missing_spans(known: Sequence[LedgerEntry], images: int, tiles: int) -> list[tuple[int, int]]:
    """First image and count of each problem still to be made, of ``tiles`` images at most."""
    covered = [False] * images
    for entry in known:
        covered[entry.first_image : entry.first_image + entry.count] = [True] * entry.count
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
    session: Session, batch: int, spans: Iterable[tuple[int, int]], terms: ProblemTerms, *, now: datetime
) -> None:
    """Write down what is going to be sent; it costs nothing yet."""
    last = session.execute(select(func.max(Problem.ordinal)).where(Problem.batch_id == batch)).scalar()
    ordinal = -1 if last is None else last
    rows = [
        {
            "batch_id": batch,
            "ordinal": ordinal + index,
            "first_image": first,
            "count": count,
            "label": f"{LABEL}{uuid.uuid4().hex}",
            "embedding_id": terms.embedding_id,
            "graph_id": terms.graph_id,
            "scale": terms.scale,
            "chain_strength": terms.chain_strength,
            "estimated_us": terms.estimate_us(count),
            "state": ProblemState.RESERVED,
            "reserved_at": now,
        }
        for index, (first, count) in enumerate(spans, start=1)
    ]
    if rows:
        session.execute(insert(Problem), rows)


def cancel_reserved(session: Session, ids: Iterable[int], *, now: datetime) -> None:
    """Forget reservations on terms that no longer hold; nothing of them has left."""
    for problem in ids:
        transition(
            session, problem, ProblemState.RESERVED, ProblemState.CANCELLED, now=now, why="other terms"
        )


def mark_sending(session: Session, ids: Sequence[int], *, now: datetime) -> None:
    """From now on the problems may have left.

    Raises:
        StaleState: one of them is not reserved any more.
    """
    moved = transition_all(
        session,
        ids,
        ProblemState.RESERVED,
        ProblemState.SENDING,
        now=now,
        sending_at=now,
        times_sent=Problem.times_sent + 1,
    )
    if len(moved) != len(ids):
        raise StaleState(f"{len(moved)} of {len(ids)} problems were reserved: {sorted(ids)}")


def mark_sent(session: Session, problem: int, sapi_id: str, *, now: datetime, adopted: bool = False) -> None:
    """The solver has given the problem an id; ``adopted``: it was found by its label."""
    mark_all_sent(session, {problem: sapi_id}, now=now, adopted=adopted)


def mark_all_sent(session: Session, ids: Mapping[int, str], *, now: datetime, adopted: bool = False) -> None:
    """The same for many problems.

    Raises:
        StaleState: one of them is not on its way any more.
    """
    why = "found by its label" if adopted else None
    rows = {
        problem: {"sapi_id": sapi_id, "sent_at": now, "adopted": adopted} for problem, sapi_id in ids.items()
    }
    transition_each(session, rows, ProblemState.SENDING, ProblemState.SENT, now=now, why=why)


def mark_cancelled(session: Session, problem: int, *, now: datetime) -> None:
    """The solver has taken it from its queue, because its run was cancelled: it is not charged."""
    transition(
        session, problem, ProblemState.SENT, ProblemState.CANCELLED, now=now, why="the run was cancelled"
    )


def requeue(session: Session, problem: int, why: str, *, now: datetime) -> None:
    """The problem has provably not arrived: it may be sent again."""
    transition(session, problem, ProblemState.SENDING, ProblemState.RESERVED, now=now, why=why)


def mark_failed(
    session: Session, problem: int, source: ProblemState, why: str, *, now: datetime, spent: bool = False
) -> None:
    """The solver refused or failed it: it will never be answered. spent: it was charged all the same."""
    # What it was charged is lost with its answer; what it was expected to be is the best that is known.
    waste = {"wasted_us": func.coalesce(Problem.estimated_us, 0)} if spent else {}
    transition(session, problem, source, ProblemState.FAILED, now=now, why=why, error=why, **waste)


def record_duplicates(session: Session, problem: int, duplicates: int, *, now: datetime) -> None:
    """The solver has further problems under this one's label."""
    session.execute(update(Problem).where(Problem.id == problem).values(duplicates=duplicates))
    record_event(
        session, "problems", problem, None, ProblemState.SENT, now=now, why=f"{duplicates} duplicates"
    )


@dataclass(frozen=True)
class PossibleDuplicate:
    """A problem that may have left more than once. kept: the id whose answer is stored, if one is."""

    id: int
    label: str
    sapi_id: str | None
    kept: str | None
    estimated_us: int


def possible_duplicates(session: Session, batch: int) -> list[PossibleDuplicate]:
    """The problems of a batch under whose labels the solver may have others than are written down."""
    unaccepted = and_(Problem.times_sent > 0, Problem.sapi_id.is_(None))
    kept = case((Problem.state == ProblemState.ANSWERED, Problem.sapi_id))
    rows = session.execute(
        select(Problem.id, Problem.label, Problem.sapi_id, kept, func.coalesce(Problem.estimated_us, 0))
        .where(Problem.batch_id == batch, or_(Problem.times_sent > 1, Problem.duplicates > 0, unaccepted))
        .order_by(Problem.id)
    )
    return [PossibleDuplicate(*row) for row in rows]


def record_waste(session: Session, problem: int, duplicates: int, wasted_us: int) -> None:
    """What the solver charged under a problem's label beside the answer that is kept."""
    values = {"duplicates": duplicates, "wasted_us": wasted_us}
    session.execute(update(Problem).where(Problem.id == problem).values(values))


@dataclass(frozen=True)
class ProblemReads:
    """The raw reads of an answered problem, and the solver's own figures; see `schema.codecs.samples`."""

    problem: int
    data: bytes
    reads: int
    qubits: int
    timing: dict[str, Any]


def store_answers(session: Session, answers: Sequence[ProblemReads], *, now: datetime) -> None:
    """Keep the raw reads of problems, and what they were charged.

    Raises:
        StaleState: one of them is not with the solver any more.
    """
    if not answers:
        return
    kept = [
        {
            "problem_id": one.problem,
            "codec": samples.VERSION,
            "reads": one.reads,
            "variables": one.qubits,
            "data": one.data,
        }
        for one in answers
    ]
    session.execute(_KEEP, kept)
    rows = {
        one.problem: {
            "timing": one.timing,
            "charged_us": round(one.timing.get("qpu_access_time", 0)),
            "answered_at": now,
        }
        for one in answers
    }
    transition_each(session, rows, ProblemState.SENT, ProblemState.ANSWERED, now=now)


_KEEP: Insert = insert(SampleSet.__table__)  # type: ignore[arg-type]
