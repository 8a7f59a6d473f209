"""Read-only queries on runs behind the command line and the API; rows are frozen dataclasses.

Each takes the open ``session`` that it reads by.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import Any, Unpack

from sqlalchemy import ColumnElement, Row, Select, and_, case, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from producer.runs.filters import RunFilter, conditions
from schema.database.rows import copy_row
from schema.errors import NotFound
from schema.network.layers import ImageInput, read_input
from schema.states import FINISHED_RUNS, PausedBy, RunState
from schema.tables import (
    Batch,
    BatchImages,
    Classification,
    Intake,
    Network,
    Owner,
    Problem,
    Run,
    RunSubmission,
    RunTag,
)
from schema.tables.costs import IN_FLIGHT, charged_us, in_flight_us, round_charge
from schema.tables.runs import is_being_read

_PAGE = 5_000  # classifications read at once


@dataclass(frozen=True)
class RunSummary:
    """A run as `runs list` and `runs show` print it."""

    run_id: int
    name: str
    network: str
    network_reason: str | None  # why it was chosen
    solver: str
    state: RunState
    priority: int
    images: int
    images_to_come: int | None  # not read yet, as its source announces; None: it does not say how many
    notes: tuple[str, ...]  # what was changed or left out when they were read
    batches: int
    batches_scored: int
    batches_failed: int
    round: int  # of reads, that is in progress or was the last
    labelled: bool
    parameters: dict[str, Any]
    reads_reason: str | None  # why it has this number of reads and these rounds, if they were chosen
    rescored_from: int | None  # the run whose raw samples it scores
    calibrated_by: int | None  # the calibration that its parameters come from
    calibrates: int | None  # the calibration that it was made for
    qpu: str | None  # name of the QPU that its problems are sent to, once the first was
    graph_id: str | None  # of that QPU's working graph then
    statistics: dict[str, Any] | None
    budget_us: int | None  # QPU time that it may be charged
    window: dict[str, Any] | None  # see `schema.calendar.windows`
    opened_until: datetime | None
    deadline_at: datetime | None
    paused_by: PausedBy | None
    pause_reason: str | None
    error: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @property
    def is_provisional(self) -> bool:
        """Return whether a round of reads may still change results that are there."""
        has_rounds = self.parameters.get("rounds") is not None and self.rescored_from is None
        return has_rounds and self.state not in FINISHED_RUNS

    @property
    def images_text(self) -> str:
        """Return its number of images, for display: of those that are read so far, while some are not."""
        if self.images_to_come == 0:
            return f"{self.images:,}"
        if self.images_to_come is None:
            return f"reading, {self.images:,} so far"
        return f"{self.images:,} of {self.images + self.images_to_come:,} read"

    @property
    def scored_share(self) -> float:
        """Return the share of its batches that are scored; as far as its source says, of all images."""
        known = self.images / (self.images + (self.images_to_come or 0))
        return known * self.batches_scored / self.batches

    @property
    def guarantee_void(self) -> str | None:
        """Return why the guarantee of its sets of classes does not hold; None: nothing speaks against it."""
        found: str | None = ((self.statistics or {}).get("guarantee") or {}).get("voided")
        return found


@dataclass(frozen=True)
class RunSpending:
    """QPU time that a run has used so far, and its problems in flight.

    Attributes:
        charged_us: microseconds charged for answered problems and for duplicates.
        in_flight: number of problems submitted and not answered.
        in_flight_us: microseconds that those are charged unless they can be cancelled.
    """

    charged_us: float
    in_flight: int
    in_flight_us: int


@dataclass(frozen=True)
class Counts:
    """Counts of a run's classified images by outcome."""

    decided: int  # one class, tied ones included
    tied: int
    undecided: int
    labelled: int
    correct: int

    @property
    def accuracy(self) -> float | None:
        """Return the share of labelled images that are predicted right; undecided ones count as wrong."""
        return self.correct / self.labelled if self.labelled else None


@dataclass(frozen=True)
class Classified:
    """One image of a run."""

    image: int
    predicted: int | None
    label: int | None
    status: str
    scores: bytes
    margin: float
    one_hot_fraction: float
    chain_break_fraction: float | None
    lowest_energy: float
    reads: int | None  # behind it, of all rounds; None: scored by an earlier version, as the run says
    energy_gap: float | None  # None: scored by an earlier version, undecided, or not known
    probability: float | None  # of the predicted class; None as above
    probabilities: bytes | None  # of all classes; None: scored by an earlier version
    class_set: bytes | None = None  # None: its run has no confidence
    set_size: int | None = None


CLASSIFIED = tuple(getattr(Classification, field.name) for field in fields(Classified))  # its columns


class RunOrder(StrEnum):
    """Orders of a list of runs; those that are equal come newest first."""

    NEWEST = "newest"
    OLDEST = "oldest"
    NAME = "name"
    IMAGES = "images"  # most first
    PRIORITY = "priority"  # highest first


def runs(
    session: Session,
    limit: int = 20,
    *,
    order: RunOrder = RunOrder.NEWEST,
    following: int | None = None,
    preceding: int | None = None,
    **wanted: Unpack[RunFilter],
) -> list[RunSummary]:
    """Return the first ``limit`` runs in ``order``.

    Args:
        following: only runs that come after this one in the order.
        preceding: the last ``limit`` runs that come before this one in the order.
        wanted: which runs.
    """
    column, is_descending = _ORDERS[order]
    backwards = preceding is not None
    query = _runs().where(*conditions(wanted)).limit(limit)
    for key, descending in ((column, is_descending), (Run.id, order is not RunOrder.OLDEST)):
        query = query.order_by(key.desc() if descending != backwards else key.asc())
    if (cursor := preceding if backwards else following) is not None:
        query = query.where(
            _beyond(column, cursor, descending=is_descending != backwards, backwards=backwards)
        )
    found = [_run(row) for row in session.execute(query)]
    return found[::-1] if backwards else found


def _beyond(
    column: InstrumentedAttribute[Any], run: int, *, descending: bool, backwards: bool
) -> ColumnElement[bool]:
    """Return the condition that a run comes after ``run`` by ``column``, and by number among equals.

    ``descending`` and ``backwards`` are those of the query.
    """
    if column is Run.id:
        return Run.id < run if descending else Run.id > run
    value = select(column).where(Run.id == run).scalar_subquery()
    later = Run.id > run if backwards else Run.id < run
    return or_(column < value if descending else column > value, and_(column == value, later))


_ORDERS: dict[RunOrder, tuple[InstrumentedAttribute[Any], bool]] = {
    RunOrder.NEWEST: (Run.id, True),
    RunOrder.OLDEST: (Run.id, False),
    RunOrder.NAME: (Run.name, False),
    RunOrder.IMAGES: (Run.images, True),
    RunOrder.PRIORITY: (Run.priority, True),
}


def run(session: Session, run_id: int) -> RunSummary:
    """Return the run ``run_id``, read by ``session``; raise NotFound."""
    row = session.execute(_runs().where(Run.id == run_id)).first()
    if row is None:
        raise NotFound(f"no run {run_id}: `annealq runs list` shows all runs")
    return _run(row)


def accuracies(session: Session, runs: Sequence[RunSummary]) -> dict[int, float]:
    """Return the accuracy of those of ``runs`` that have labels, by number; undecided images are wrong."""
    found: dict[int, float] = {}
    uncounted: list[int] = []
    for run in runs:
        ended = run.statistics if run.state in FINISHED_RUNS else None
        if ended is None or "labelled_images" not in ended:
            uncounted += [run.run_id] if run.labelled else []
        elif ended["labelled_images"]:
            found[run.run_id] = ended["correct_images"] / ended["labelled_images"]
    c = Classification
    right = func.count(case((c.predicted == c.label, 1)))
    query = select(c.run_id, right, func.count()).where(c.label.is_not(None)).group_by(c.run_id)
    rows = session.execute(query.where(c.run_id.in_(uncounted)))
    return found | {run: correct / labelled for run, correct, labelled in rows}


def owners(session: Session, runs: Sequence[RunSummary]) -> dict[int, str]:
    """Return the name of the owner that submitted each of ``runs`` by the API, by number, if one did."""
    query = select(RunSubmission.run_id, Owner.name).join(Owner, Owner.id == RunSubmission.owner_id)
    ids = [run.run_id for run in runs]
    return {row.run_id: row.name for row in session.execute(query.where(RunSubmission.run_id.in_(ids)))}


def tags(session: Session, runs: Collection[int]) -> dict[int, list[str]]:
    """Return the tags of those of ``runs`` that have any, by number, in alphabetical order."""
    query = select(RunTag.run_id, RunTag.tag).where(RunTag.run_id.in_(runs)).order_by(RunTag.tag)
    found: dict[int, list[str]] = {}
    for run, tag in session.execute(query):
        found.setdefault(run, []).append(tag)
    return found


def spending_of_run(session: Session, run: int) -> RunSpending:
    """Return the QPU time that ``run`` has used so far, as read by ``session``."""
    row = session.execute(
        select(
            func.coalesce(func.sum(charged_us()), 0),
            func.count().filter(Problem.state.in_(IN_FLIGHT)),
            func.coalesce(func.sum(in_flight_us()), 0),
        )
        .join(Batch, Batch.id == Problem.batch_id)
        .where(Batch.run_id == run)
    ).one()
    charged, in_flight, in_flight_cost = row
    return RunSpending(round_charge(charged), in_flight, int(in_flight_cost))


def promise(session: Session, run_id: int) -> dict[str, Any] | None:
    """Return what was promised of run ``run_id``; None for a run without a target."""
    return session.execute(select(Run.promise).where(Run.id == run_id)).scalar()


def counts(session: Session, run_id: int, first_image: int = 0) -> Counts:
    """Return the counts of classified images of run ``run_id`` from index ``first_image`` on."""
    c = Classification
    row = session.execute(
        select(
            func.count(c.predicted),
            func.count(case((c.status == "tied", 1))),
            func.count(case((c.status == "undecided", 1))),
            func.count(c.label),
            func.count(case((c.predicted == c.label, 1))),
        ).where(c.run_id == run_id, c.image >= first_image)
    ).one()
    return Counts(*row)


def classes(session: Session, run_id: int) -> tuple[str, ...]:
    """Return the class names of the network that run ``run_id`` uses, read by ``session``."""
    names = session.execute(
        select(Network.classes).join(Run, Run.network_id == Network.id).where(Run.id == run_id)
    ).scalar_one()
    return tuple(names)


def white_of(session: Session, run_id: int) -> int:
    """Return the largest value of a pixel that the network of run ``run_id`` takes; 1 for vectors."""
    architecture = session.execute(
        select(Network.architecture).join(Run, Run.network_id == Network.id).where(Run.id == run_id)
    ).scalar_one()
    takes = read_input(architecture["input"])
    return takes.image_max if isinstance(takes, ImageInput) else 1


def confusion(session: Session, run_id: int) -> list[tuple[int, int | None, int]]:
    """Return (label, predicted or None, images) of the labelled images of run ``run_id``."""
    c = Classification
    rows = session.execute(
        select(c.label, c.predicted, func.count())
        .where(c.run_id == run_id, c.label.is_not(None))
        .group_by(c.label, c.predicted)
        .order_by(c.label)
    )
    return [(label, predicted, images) for label, predicted, images in rows if label is not None]


def predictions(session: Session, run_id: int) -> list[tuple[int | None, int]]:
    """Return (predicted or None, images) of all images of run ``run_id``."""
    c = Classification
    rows = session.execute(
        select(c.predicted, func.count())
        .where(c.run_id == run_id)
        .group_by(c.predicted)
        .order_by(c.predicted)
    )
    return [(predicted, images) for predicted, images in rows]


def classified(
    session: Session,
    run_id: int,
    first: int = 0,
    end: int | None = None,
    wanted: Sequence[ColumnElement[bool]] = (),
) -> Iterator[Classified]:
    """Yield the classified images of run ``run_id`` from index ``first`` to before ``end``, page by page.

    ``wanted`` are further conditions on them.
    """
    c = Classification
    last = first - 1
    bound = [] if end is None else [c.image < end]
    while True:
        page = session.execute(
            select(*CLASSIFIED)
            .where(c.run_id == run_id, c.image > last, *bound, *wanted)
            .order_by(c.image)
            .limit(_PAGE)
        ).all()
        if not page:
            return
        yield from (Classified(*row) for row in page)
        last = page[-1].image


def sources(session: Session, run_id: int, end: int | None = None, first: int = 0) -> dict[int, str]:
    """Return file names by image index of run ``run_id``, if it was read from a folder.

    Batches that begin at ``end`` or later, and those that end before ``first``, are left out.
    """
    bound = [Batch.first_image + Batch.count > first] if first else []
    bound += [] if end is None else [Batch.first_image < end]
    rows = session.execute(
        select(Batch.first_image, BatchImages.sources)
        .join(BatchImages, BatchImages.batch_id == Batch.id)
        .where(Batch.run_id == run_id, BatchImages.sources.is_not(None), *bound)
    )
    return {first + k: name for first, names in rows for k, name in enumerate(names or ())}


def _runs() -> Select[Run, str, int, int | None, int | None]:
    query = select(Run, Network.name, Network.version, Intake.rows, Intake.total)
    query = query.join(Network, Network.id == Run.network_id)
    return query.outerjoin(Intake, and_(Intake.id == Run.id, is_being_read()))


def _run(row: Row[Run, str, int, int | None, int | None]) -> RunSummary:
    run, name, version, rows, total = row
    to_come = 0 if rows is None else None if total is None else total - rows
    values = {
        "run_id": run.id,
        "network": f"{name}@{version}",
        "images_to_come": to_come,
        "notes": tuple((run.data or {}).get("notes", ())),
    }
    return copy_row(run, RunSummary, **values)
