"""Which QPUs a run's problems ran on: for its reports, its JSON and its export."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVarTuple

from sqlalchemy import Select, and_, case, func, select
from sqlalchemy.orm import Session

from producer.embeddings import chips
from schema.states import CalibrationState
from schema.tables import Batch, Calibration, Chip, Classification, Embedding, Problem, Run
from schema.tables.costs import charged_us
from schema.tables.runs import is_answered

_LATEST = 10  # runs whose accuracies are read

_Columns = TypeVarTuple("_Columns")


@dataclass(frozen=True)
class QpuUse:
    """Problems of a run that were sent to one QPU with one working graph.

    Attributes:
        problems: number of those sent.
        images: number that their answers have.
        qpu_time_us: charged so far, duplicates included, microseconds.
        time_share: that as a share of the run's; None before anything is charged.
        accuracy: share of the labelled images there that are classified correctly; None without any.
        deprecations: what the service announced about the QPU.
        alarm: what about its newest problems differs from its past, and since when; None if nothing does.
    """

    qpu: str
    graph_id: str
    problems: int
    images: int
    qpu_time_us: float
    deprecations: tuple[str, ...] = ()
    alarm: str | None = None
    time_share: float | None = None
    accuracy: float | None = None


def uses(session: Session, run_id: int, accuracy: float | None) -> list[QpuUse]:
    """Return the QPUs that the problems of run ``run_id``, or of the run whose reads it scores, ran on.

    ``accuracy`` is that of the run, which that of its QPU is if it had one.
    """
    answered = is_answered()
    figures = (
        func.count(),
        # Images that were read again count where they were read first.
        func.sum(case((and_(answered, Batch.round == 1), Problem.count), else_=0)),
        func.sum(charged_us()),
    )
    name = func.coalesce(Problem.qpu, Chip.name, "")  # of old problems, that of the embedding's chip
    graph = func.coalesce(Problem.graph_id, "")
    found = session.execute(
        _problems_of(select(name, graph, *figures), run_id)
        .where(Problem.times_sent > 0)
        .group_by(name, graph)
        .order_by(func.min(Problem.id))
    )
    announced: dict[tuple[str, str], list[str]] = {}
    for one in chips.deprecations(session):
        announced.setdefault((one.name, one.graph_id), []).append(one.text)
    alarms = chips.alarms(session)
    rows = found.all()
    total_us = sum(float(row[-1]) for row in rows)
    correct = {rows[0][:2]: accuracy} if len(rows) == 1 else _accuracies(session, run_id)
    return [
        QpuUse(
            name,
            graph,
            count,
            int(images),
            float(us),
            tuple(announced.get((name, graph), ())),
            alarms.get((name, graph)),
            float(us) / total_us if total_us else None,
            correct.get((name, graph)),
        )
        for name, graph, count, images, us in rows
    ]


def _accuracy(session: Session, run_id: int) -> float | None:
    right = func.count(case((Classification.predicted == Classification.label, 1)))
    query = select(right, func.count(Classification.label)).where(Classification.run_id == run_id)
    correct, labelled = session.execute(query).one()
    return correct / labelled if labelled else None


def _accuracies(session: Session, run_id: int) -> dict[tuple[str, str], float]:
    """Return the accuracy of run ``run_id`` on each QPU that has answered labelled images, by name and graph.

    Undecided images count as wrong. Each image is looked up by its problem: 2 us an image.
    """
    start = Batch.first_image + Problem.first_image
    name, graph = func.coalesce(Problem.qpu, Chip.name, ""), func.coalesce(Problem.graph_id, "")
    right = func.sum(case((Classification.predicted == Classification.label, 1), else_=0))
    on_image = Classification.image.between(start, start + Problem.count - 1)
    rows = session.execute(
        _problems_of(select(name, graph, right, func.count()), run_id)
        .join(Classification, and_(Classification.run_id == run_id, on_image))
        .where(is_answered(), Batch.round == 1, Classification.label.is_not(None))
        .group_by(name, graph)
    )
    return {(name, graph): int(correct) / count for name, graph, correct, count in rows}


@dataclass(frozen=True)
class MeasuredAccuracy:
    """An accuracy on a chip, and the run or calibration that measured it."""

    accuracy: float
    basis: str


def measured_accuracies(session: Session, network: int, visible: str) -> dict[str, MeasuredAccuracy]:
    """Return what ``network`` with ``visible`` units reached on each chip, by working graph.

    It is that of the newest of the latest labelled runs there, or else of the newest calibration.
    """
    found: dict[str, MeasuredAccuracy] = {}
    fitted = select(Calibration.id, Calibration.graph_id, Calibration.accuracy).where(
        Calibration.network_id == network,
        Calibration.visible == visible,
        Calibration.state == CalibrationState.READY,
        Calibration.graph_id != "",
    )
    for number, graph, accuracy in session.execute(fitted.order_by(Calibration.id)):
        found[graph] = MeasuredAccuracy(float(accuracy or 0.0), f"calibration {number}")
    labelled = select(Run.id).where(
        Run.network_id == network,
        Run.parameters["visible"].as_string() == visible,
        Run.labelled,
        Run.graph_id.is_not(None),
        Run.finished_at.is_not(None),
        Run.calibrates.is_(None),
    )
    newest = session.execute(labelled.order_by(Run.id.desc()).limit(_LATEST)).scalars().all()
    for run in reversed(newest):
        for use in uses(session, run, _accuracy(session, run)):
            if use.accuracy is not None:
                found[use.graph_id] = MeasuredAccuracy(use.accuracy, f"run {run}")
    return found


def with_experience(
    compared: Sequence[Mapping[str, Any]],
    measured: Mapping[str, MeasuredAccuracy],
    budget_us: float | None,
) -> list[dict[str, Any]]:
    """Return the rows ``compared`` of a dry run with accuracies ``measured`` there and the run's budget.

    Args:
        measured: by working graph.
        budget_us: microseconds; None: no limit.
    """
    rows = []
    for row in compared:
        known = measured.get(row["graph_id"])
        rows.append(
            {
                **row,
                "accuracy": None if known is None else known.accuracy,
                "accuracy_of": None if known is None else known.basis,
                "fits_budget": None
                if budget_us is None or row["qpu_us"] is None
                else row["qpu_us"] <= budget_us,
            }
        )
    return rows


def of_images(
    session: Session, run_id: int, first: int, end: int | None
) -> dict[int, tuple[str, str | None]]:
    """Return name and graph of the QPU that first answered, by image of run ``run_id`` from ``first`` to
    before ``end``.
    """
    start = Batch.first_image + Problem.first_image
    query = _problems_of(
        select(start, Problem.count, func.coalesce(Problem.qpu, Chip.name), Problem.graph_id), run_id
    )
    query = query.where(is_answered(), Batch.round == 1, start + Problem.count > first)
    if end is not None:
        query = query.where(start < end)
    found: dict[int, tuple[str, str | None]] = {}
    for begin, count, qpu, graph_id in session.execute(query.order_by(Problem.id)):
        found |= dict.fromkeys(range(begin, begin + count), (qpu, graph_id))
    return found


def _problems_of(query: Select[*_Columns], run_id: int) -> Select[*_Columns]:
    """Join the problems of a run, or of the run whose reads it scores, to ``query`` on their columns."""
    sampled_by = select(func.coalesce(Run.rescored_from, Run.id)).where(Run.id == run_id).scalar_subquery()
    return (
        query.select_from(Problem)
        .join(Batch, Batch.id == Problem.batch_id)
        .outerjoin(Embedding, Embedding.id == Problem.embedding_id)
        .outerjoin(Chip, Chip.id == Embedding.chip_id)
        .where(Batch.run_id == sampled_by)
    )
