"""What answers say about a chip, and problems that were programmed wrongly.

The rows hold what `worker.compute.problem_checks` measured of each answer.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, func, insert, select, update
from sqlalchemy.orm import Session

from schema.database.transitions import transition_all
from schema.states import ProblemState
from schema.tables import Batch, Chip, Event, Problem, Run
from schema.tables.runs import is_answered

# Events of chips: an alarm begins; it ends, since the chip is as it was; what raised it counts as usual now.
ALARM, USUAL, RENEWED = "alarm", "usual", "renewed"
MISPROGRAMMED = "misprogrammed: "  # the error of such a problem begins with this
# Parameters that decide, with embedding, network and images, what is measured of a problem.
_SAMPLED_BY = ("reads", "lam", "chain_strength", "scale", "annealing_time_us", "anneal_schedule", "gauge")
_EARLIER = 50  # good problems of the same kind that the next ones are compared with
_REACH = 20_000  # newest problems, of all chips, among which those of a chip or of a kind are looked for
_NEWEST = 20  # problems of any kind that tell the coupling bias of a chip
_USUAL_BIAS = 0.02  # its size on D-Wave's chips, which is assumed before anything is measured
LEAST = 2  # with fewer the coupling bias is not known


@dataclass(frozen=True)
class MeasuredProblem:
    """An answered problem of a batch, and what was measured of its answer."""

    id: int
    first_image: int  # within the batch
    count: int
    measured: dict[str, Any]


def of_batch(session: Session, batch: int, embedding: int, least: int) -> list[MeasuredProblem]:
    """Read from ``session`` the problems of ``batch`` that may be judged: ``least`` images or more.

    They have the same ``embedding``: those that another QPU answered are not compared with them. Images whose
    problem was programmed wrongly before are not judged again.
    """
    columns = (Problem.id, Problem.first_image, Problem.count, Problem.measured)
    answered = _measured(columns, ProblemState.ANSWERED)
    rows = session.execute(answered.where(Problem.batch_id == batch, Problem.embedding_id == embedding))
    wrong = session.execute(
        _measured(columns, ProblemState.FAILED).where(
            Problem.batch_id == batch, Problem.error.startswith(MISPROGRAMMED)
        )
    ).all()
    again = {image for row in wrong for image in range(row.first_image, row.first_image + row.count)}
    found = [MeasuredProblem(*row) for row in rows]
    return [
        each
        for each in found
        if each.count >= least and again.isdisjoint(range(each.first_image, each.first_image + each.count))
    ]


def before_run(session: Session, run: int, count: int) -> list[dict[str, Any]]:
    """Read from ``session`` what was measured of the ``count`` newest good problems before ``run``, at most.

    They are of the kind of most of its problems, on the same chip.
    """
    columns: tuple[Any, ...] = (Problem.graph_id, Problem.embedding_id, Problem.count, func.min(Problem.id))
    kinds = select(*columns).join(Batch, Batch.id == Problem.batch_id).where(Batch.run_id == run)
    kinds = (
        kinds.where(Batch.round == 1, Problem.measured.is_not(None))
        .group_by(*columns[:3])
        .order_by(func.count().desc())
    )
    kind = session.execute(kinds.where(Problem.graph_id.is_not(None)).limit(1)).first()
    if kind is None:
        return []
    graph_id, embedding, images, first = kind
    network, parameters = session.execute(select(Run.network_id, Run.parameters).where(Run.id == run)).one()
    same = (Problem.embedding_id == embedding, Problem.count == images, Run.network_id == network)
    found = newest_of_chip(session, graph_id, count, *same, Problem.id < first)
    return [problem.measured for problem in found if problem.kind[-1] == _sampled_by(parameters)]


def ids_of_batch(session: Session, batch: int) -> tuple[int, int]:
    """Read from ``session`` the least and the greatest id of the problems of ``batch``, which has some."""
    least, greatest = func.min(Problem.id), func.max(Problem.id)
    first, last = session.execute(select(least, greatest).where(Problem.batch_id == batch)).one()
    return first, last


def of_earlier(session: Session, batch: int, embedding: int, least: int) -> list[dict[str, Any]]:
    """Read from ``session`` what was measured of the newest good problems of the kind of those of ``batch``.

    They have the same ``embedding``, network, reads and parameters of sampling, and ``least`` images or more.
    """
    own = select(Run.network_id, Run.parameters, Batch.reads).join(Batch, Batch.run_id == Run.id)
    network, parameters, reads = session.execute(own.where(Batch.id == batch)).one()
    wanted = _sampled_by(parameters, reads)
    query = _measured((Problem.measured, Run.id, Batch.reads), ProblemState.ANSWERED)
    query = query.join(Batch, Batch.id == Problem.batch_id).join(Run, Run.id == Batch.run_id)
    query = query.where(
        _is_recent(session),
        Problem.embedding_id == embedding,
        Problem.batch_id != batch,
        Problem.count >= least,
        Run.network_id == network,
        func.coalesce(Batch.reads, Run.parameters["reads"].as_integer()) == (reads or parameters["reads"]),
    )
    newest = session.execute(query.order_by(Problem.id.desc()).limit(_EARLIER)).all()
    kinds = _kinds(session, {(run, theirs) for _, run, theirs in newest})
    return [measured for measured, run, theirs in newest if kinds[run, theirs] == wanted]


@dataclass(frozen=True)
class GoodProblem:
    """An answered problem that was programmed as it was sent; those of one ``kind`` are comparable."""

    answered_at: datetime
    kind: tuple[Any, ...]
    measured: dict[str, Any]


def newest_of_chip(
    session: Session, graph_id: str, count: int, *conditions: ColumnElement[bool]
) -> list[GoodProblem]:
    """Read from ``session`` the ``count`` newest good problems on the graph ``graph_id``, oldest first.

    They meet all ``conditions``, and are among the newest 20,000 problems of all chips.
    """
    columns = (Problem.answered_at, Problem.embedding_id, Problem.count, Problem.measured)
    query = _measured((*columns, Run.id, Run.network_id, Batch.reads), ProblemState.ANSWERED)
    query = query.join(Batch, Batch.id == Problem.batch_id).join(Run, Run.id == Batch.run_id)
    query = query.where(Problem.graph_id == graph_id, _is_recent(session), *conditions)
    rows = session.execute(query.order_by(Problem.id.desc()).limit(count)).all()
    kinds = _kinds(session, {(row[4], row[6]) for row in rows})
    return [
        GoodProblem(answered_at, (embedding, network, images, kinds[run, reads]), measured)
        for answered_at, embedding, images, measured, run, network, reads in reversed(rows)
    ]


def latest_alarm(session: Session, graph_id: str) -> tuple[datetime, datetime | None] | None:
    """Read from ``session`` when the latest alarm about ``graph_id`` began, and when it ended.

    None if there was none, or if what raised it has become usual.
    """
    chips = select(Chip.id).where(Chip.graph_id == graph_id)
    query = select(Event.at, Event.target).where(Event.subject == "chips", Event.row.in_(chips))
    # A chip that was renamed has several rows, with the same events.
    rows = session.execute(query.distinct().order_by(Event.at.desc()).limit(2)).all()
    if not rows or rows[0].target == RENEWED:
        return None
    return (rows[0].at, None) if rows[0].target == ALARM else (rows[-1].at, rows[0].at)


def set_alarm(session: Session, graph_id: str, event: str, why: str, *, now: datetime) -> bool:
    """Raise an alarm in ``session`` about the chips with ``graph_id`` at ``now``, or end it, and say ``why``.

    ``event`` is one of `ALARM`, `USUAL`, `RENEWED`. Returns whether anything has changed: another worker may
    have been faster.
    """
    is_alarm = event == ALARM
    other = Chip.alarm.is_(None) if is_alarm else Chip.alarm.is_not(None)
    new: dict[str, Any] = {"alarm": why if is_alarm else None, "alarmed_at": now if is_alarm else None}
    changed = update(Chip).where(Chip.graph_id == graph_id, other).values(new).returning(Chip.id)
    chips = session.execute(changed).scalars().all()
    for chip in chips:
        values = {"at": now, "subject": "chips", "row": chip, "source": None, "target": event, "why": why}
        session.execute(insert(Event).values(values))
    return bool(chips)


def coupling_bias(session: Session, graph_id: str) -> float | None:
    """Read from ``session`` the field that couplers of |J| = 1 put on a qubit of the chip ``graph_id``.

    It is the mean of the newest problems, weighted by their precision, and nearer to 0 the less they say; in
    steps of 0.001. None while too few are known.
    """
    query = _measured((Problem.measured,), ProblemState.ANSWERED).where(Problem.graph_id == graph_id)
    query = query.where(_is_recent(session))
    rows = session.execute(query.order_by(Problem.id.desc()).limit(_NEWEST)).scalars()
    weights = [
        (float(row["coupling_bias"]), float(row["bias_error"]) ** -2) for row in rows if row is not None
    ]
    if len(weights) < LEAST:
        return None
    total = sum(weight for _, weight in weights) + _USUAL_BIAS**-2
    return round(sum(bias * weight for bias, weight in weights) / total, 3)


def reject(session: Session, wrong: Iterable[tuple[int, str]], *, now: datetime) -> None:
    """Record in ``session`` at ``now`` that problems were programmed ``wrong``: each one's id, and why.

    Their reads stay, and what they were charged is wasted; their images need another problem.
    """
    wasted_us = Problem.wasted_us + func.coalesce(Problem.charged_us, 0.0)
    values: dict[str, Any] = {"wasted_us": wasted_us, "charged_us": None, "answered_at": None}
    for problem, why in wrong:
        error = MISPROGRAMMED + why
        source, target = ProblemState.ANSWERED, ProblemState.FAILED
        transition_all(session, [problem], source, target, now=now, why=error, error=error, **values)


def _kinds(
    session: Session, keys: Collection[tuple[int, int | None]]
) -> dict[tuple[int, int | None], tuple[str, ...]]:
    """Return what decides about the problems of each run, in a later round with other reads: ``keys``.

    The parameters of a run are read once, however many problems it has.
    """
    runs = session.execute(select(Run.id, Run.parameters).where(Run.id.in_({run for run, _ in keys})))
    parameters = {run: chosen for run, chosen in runs}  # noqa: C416 - rows
    return {(run, reads): _sampled_by(parameters[run], reads) for run, reads in keys}


def _sampled_by(parameters: dict[str, Any], reads: int | None = None) -> tuple[str, ...]:
    """Return what decides about a problem of a run with ``parameters``, in a later round with other reads."""
    chosen = parameters if reads is None else {**parameters, "reads": reads}
    return tuple(repr(chosen.get(name)) for name in _SAMPLED_BY)


def _measured(columns: tuple[Any, ...], state: ProblemState) -> Select[Any]:
    in_state = is_answered() if state is ProblemState.ANSWERED else Problem.state == state
    return select(*columns).where(in_state, Problem.measured.is_not(None))


def _is_recent(session: Session) -> ColumnElement[bool]:
    """Build the condition that a problem is among the newest 20,000 in ``session``.

    Without it, all problems there are would be read for a kind that has none.
    """
    newest = session.execute(select(func.max(Problem.id))).scalar() or 0
    return Problem.id > newest - _REACH
