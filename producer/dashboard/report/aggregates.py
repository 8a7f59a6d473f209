"""Counts of the classified images of a run, and its least certain images; each image is read once.

Images of a scored batch no longer change, so that an update reads only those that were added.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Integer, String, and_, case, cast, func, or_, select
from sqlalchemy.orm import Session

from producer.dashboard.charts.svg_charts import TimedAmount
from producer.reports import certainty
from producer.runs import queries
from schema.states import FINISHED_BATCHES, BatchState
from schema.tables import Batch, Classification

MARGIN_BINS = 25
LEAST_CERTAIN = 24  # images
_RANGES = 200  # in one query
_MAX_RUNS = 64  # whose counts a process stores
_SLACK = timedelta(seconds=10)  # longer than from `scored_at` to its commit, mostly
# Parts of statements, built once: building them took as long as running them.
_SCORED = select(Batch.id, Batch.first_image, Batch.count, Batch.scored_at).where(
    Batch.state == BatchState.SCORED, Batch.round == 1
)
_ROWS = select(*queries.CLASSIFIED)
_ORDER = certainty.least_certain_first()
_IS_UNDECIDED = Classification.predicted.is_(None)
_IS_WRONG = Classification.predicted != Classification.label
_IS_RIGHT = or_(
    Classification.predicted == Classification.label,
    and_(Classification.predicted.is_not(None), Classification.label.is_(None)),
)


@dataclass(frozen=True, eq=False)
class Aggregates:
    """Counts of classified images by outcome.

    Attributes:
        classes: K, their number.
        keys: (n,) int64, different outcomes; see `_outcomes`.
        images: (n,) int64, images of each outcome.
        undecided: the least certain ones of the undecided images.
        decided: the least certain ones of the others.
        scored: when batches were scored, and their images, in the order of these times.
    """

    classes: int
    keys: NDArray[np.int64]
    images: NDArray[np.int64]
    undecided: tuple[queries.Classified, ...]
    decided: tuple[queries.Classified, ...]
    scored: tuple[TimedAmount, ...]

    @property
    def least_certain(self) -> tuple[queries.Classified, ...]:
        """Return the wrong and least certain images, wrong ones first; at most half are undecided."""
        undecided = self.undecided[: LEAST_CERTAIN // 2]
        return (*undecided, *self.decided[: LEAST_CERTAIN - len(undecided)])

    @property
    def counts(self) -> queries.Counts:
        """Return the counts by outcome."""
        label, predicted, _, tied, _ = self._columns()
        known = label < self.classes
        return queries.Counts(
            decided=self._sum(predicted < self.classes),
            tied=self._sum(tied == 1),
            undecided=self._sum(predicted == self.classes),
            labelled=self._sum(known),
            correct=self._sum(known & (label == predicted)),
        )

    @property
    def confusion(self) -> tuple[tuple[int, int | None, int], ...]:
        """Return label, predicted class or None, and number of images, of labelled images."""
        label, predicted, *_ = self._columns()
        pairs = Counter[tuple[int, int]]()
        for row in zip(label.tolist(), predicted.tolist(), self.images.tolist(), strict=True):
            pairs[row[:2]] += row[2]
        return tuple((k, self._or_none(p), n) for (k, p), n in sorted(pairs.items()) if k < self.classes)

    @property
    def predictions(self) -> tuple[tuple[int | None, int], ...]:
        """Return predicted class or None, undecided images first, and number of images."""
        _, predicted, *_ = self._columns()
        sums = np.bincount(predicted, weights=self.images, minlength=self.classes + 1).astype(int).tolist()
        ordered = [(None, sums[-1]), *enumerate(sums[:-1])]
        return tuple((predicted, count) for predicted, count in ordered if count)

    @property
    def margins(self) -> NDArray[np.int64]:
        """Return the (25,) numbers of images by margin, from 0 to 1."""
        _, _, bins, _, _ = self._columns()
        sums = np.bincount(bins, weights=self.images, minlength=MARGIN_BINS + 1).astype(np.int64)
        sums[MARGIN_BINS - 1] += sums[MARGIN_BINS]
        return sums[:MARGIN_BINS]

    @property
    def probabilities(self) -> int:
        """Return the number of images that have a probability."""
        return self._sum(self._columns()[4] == 1)

    @property
    def full_margins(self) -> int:
        """Return the number of images whose margin is 1."""
        return self._sum(self._columns()[2] == MARGIN_BINS)

    def _columns(self) -> tuple[NDArray[np.int64], ...]:
        """Return (n,) label, predicted class, bin of the margin, tied, has a probability of each outcome."""
        rest, flags = np.divmod(self.keys, 4)
        rest, bins = np.divmod(rest, MARGIN_BINS + 1)
        label, predicted = np.divmod(rest, self.classes + 1)
        return label, predicted, bins, flags // 2, flags % 2

    def _sum(self, chosen: NDArray[np.bool_]) -> int:
        return int(self.images[chosen].sum())

    def _or_none(self, predicted: int) -> int | None:
        return predicted if predicted < self.classes else None


@dataclass
class _Stored:
    """What is known of the scored batches of a run."""

    batches: set[int] = field(default_factory=set)
    images: Counter[int] = field(default_factory=Counter)
    undecided: list[queries.Classified] = field(default_factory=list)
    decided: list[queries.Classified] = field(default_factory=list)
    scored: list[TimedAmount] = field(default_factory=list)
    later: int = 0  # finished batches of later rounds of reads: they have changed images of the first


class AggregateCache:
    """Aggregates of the runs that were read last; it is shared by threads."""

    def __init__(self) -> None:
        self._runs: OrderedDict[tuple[int, str], _Stored] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, session: Session, run: queries.RunSummary, content: str, classes: int) -> Aggregates:
        """Return the aggregates of ``run``, read by ``session`` where its batches were scored since.

        Args:
            content: digest of the run's content: numbers of deleted runs are used again.
            classes: number of classes.
        """
        key = (run.run_id, content)
        with self._lock:
            stored = self._runs.setdefault(key, _Stored())
            self._runs.move_to_end(key)
            while len(self._runs) > _MAX_RUNS:
                self._runs.popitem(last=False)
            return _update(session, run, classes, stored)


def read(session: Session, run: queries.RunSummary, classes: int) -> Aggregates:
    """Return the aggregates of ``run`` with that many ``classes``, read by ``session``."""
    return _update(session, run, classes, _Stored())


def _update(session: Session, summary: queries.RunSummary, classes: int, stored: _Stored) -> Aggregates:
    """Add to ``stored`` the batches that were scored since, and count images of failed batches anew."""
    run = summary.run_id
    later, later_scored = (0, 0) if summary.round == 1 else _count_later(session, run)
    if stored.later != later:  # images of the first round have other classes
        stored.__init__()  # type: ignore[misc]
    first = summary.batches_scored - later_scored
    if len(stored.batches) != first:
        _add(session, summary, first, classes, stored)
    stored.later = later
    images, undecided, decided = stored.images, stored.undecided, stored.decided
    if summary.batches_failed:  # some of their images may be classified
        failed = select(Batch.first_image, Batch.count).where(
            Batch.run_id == run, Batch.state == BatchState.FAILED, Batch.round == 1
        )
        for ranges in _ranges([(first, count) for first, count in session.execute(failed)]):
            images = images + _count(session, run, classes, ranges)
            undecided = _merge(undecided, _undecided(session, run, ranges))
            decided = _merge(decided, _decided(session, run, ranges))
    keys = np.array(list(images), dtype=np.int64)
    counts = np.array(list(images.values()), dtype=np.int64)
    return Aggregates(classes, keys, counts, tuple(undecided), tuple(decided), tuple(stored.scored))


def _count_later(session: Session, run: int) -> tuple[int, int]:
    """Return the finished batches of later rounds of reads of ``run``, and those of them that are scored."""
    scored = func.count(case((Batch.state == BatchState.SCORED, 1)))
    query = select(func.count(), scored).where(Batch.run_id == run, Batch.round > 1)
    finished, done = session.execute(query.where(Batch.state.in_(FINISHED_BATCHES))).one()
    return finished, done


def _add(session: Session, run: queries.RunSummary, expected: int, classes: int, stored: _Stored) -> None:
    """Add to ``stored`` the batches of the first round of ``run`` that were scored since, of ``expected``."""
    new = _new_batches(session, run.run_id, expected, stored)
    for ranges in _ranges([(first, count) for _, first, count, _ in new]):
        stored.images += _count(session, run.run_id, classes, ranges)
        stored.undecided = _merge(stored.undecided, _undecided(session, run.run_id, ranges))
        stored.decided = _merge(stored.decided, _decided(session, run.run_id, ranges))
    times = [TimedAmount(when, count) for _, _, count, when in new if when is not None]
    stored.scored = sorted([*stored.scored, *times], key=lambda each: each.when)
    stored.batches |= {batch for batch, *_ in new}


def _new_batches(
    session: Session, run: int, expected: int, stored: _Stored
) -> list[tuple[int, int, int, datetime | None]]:
    """Return id, first image, count and time of the scored batches of ``run`` that are not in ``stored``.

    If a batch in ``stored`` was sampled again after a repair, ``stored`` is emptied.
    """
    query = _SCORED.where(Batch.run_id == run)
    if stored.scored:
        latest = stored.scored[-1].when
        rows = _tuples(session.execute(query.where(Batch.scored_at >= latest - _SLACK)))
        new = [row for row in rows if row[0] not in stored.batches]
        is_again = any(row[0] in stored.batches and row[3] is not None and row[3] > latest for row in rows)
        if not is_again and len(stored.batches) + len(new) == expected:
            return new
        if is_again:
            stored.__init__()  # type: ignore[misc]
    rows = _tuples(session.execute(query))
    if stored.batches - {batch for batch, *_ in rows}:
        stored.__init__()  # type: ignore[misc]
    return [row for row in rows if row[0] not in stored.batches]


def _tuples(rows: Iterable[Any]) -> list[tuple[int, int, int, datetime | None]]:
    return [tuple(row) for row in rows]


def _ranges(parts: Sequence[tuple[int, int]]) -> Iterator[ColumnElement[bool]]:
    """Yield conditions for the images of ``parts``, first image and count of each; neighbours are joined."""
    joined: list[list[int]] = []
    for first, count in sorted(parts):
        if joined and joined[-1][1] == first:
            joined[-1][1] += count
        else:
            joined.append([first, first + count])
    c = Classification.image
    for start in range(0, len(joined), _RANGES):
        yield or_(*(and_(c >= first, c < end) for first, end in joined[start : start + _RANGES]))


def _count(session: Session, run: int, classes: int, ranges: ColumnElement[bool]) -> Counter[int]:
    """Return the images of each outcome.

    All outcomes come as one text, which is three times as fast as groups, since SQLite sorts to group.
    """
    outcomes = _outcomes(session.get_bind().dialect.name, classes)
    text = session.execute(select(outcomes).where(Classification.run_id == run, ranges)).scalar()
    if not text:
        return Counter()
    keys, counts = np.unique(np.fromstring(text, dtype=np.int64, sep=","), return_counts=True)
    return Counter(dict(zip(keys.tolist(), counts.tolist(), strict=True)))


@cache
def _outcomes(dialect: str, classes: int) -> ColumnElement[str]:
    """Return a text of the outcomes of all images, for the SQL ``dialect``.

    An outcome is one number, whose digits are label, predicted class, bin of the margin, tied, has a
    probability. Without a label or a class, the digit is ``classes``. Margins of 1 have a bin of their own.
    """
    c = Classification
    scaled = c.margin * MARGIN_BINS
    if dialect == "postgresql":  # a cast would round
        scaled = func.floor(scaled)
    bins = case((c.margin >= certainty.FULL_MARGIN, MARGIN_BINS), else_=cast(scaled, Integer))
    label, predicted = func.coalesce(c.label, classes), func.coalesce(c.predicted, classes)
    tied, probable = case((c.status == "tied", 2), else_=0), case((c.probability.is_not(None), 1), else_=0)
    outcome = ((label * (classes + 1) + predicted) * (MARGIN_BINS + 1) + bins) * 4 + tied + probable
    return func.aggregate_strings(cast(outcome, String), ",")


def _undecided(session: Session, run: int, ranges: ColumnElement[bool]) -> list[queries.Classified]:
    return _first(session, run, (ranges, _IS_UNDECIDED), LEAST_CERTAIN)


def _decided(session: Session, run: int, ranges: ColumnElement[bool]) -> list[queries.Classified]:
    """Return the least certain of the decided images in ``ranges``, wrong ones first.

    Wrong ones are looked for alone first: mostly they suffice, and the right ones need not be sorted.
    """
    wrong = _first(session, run, (ranges, _IS_WRONG), LEAST_CERTAIN)
    rest = LEAST_CERTAIN - len(wrong)
    return wrong + (_first(session, run, (ranges, _IS_RIGHT), rest) if rest else [])


def _first(
    session: Session, run: int, conditions: Sequence[ColumnElement[bool]], limit: int
) -> list[queries.Classified]:
    # Only numbers are sorted: rows with their scores are wide.
    numbers = select(Classification.image).where(Classification.run_id == run, *conditions)
    chosen = numbers.order_by(*_ORDER).limit(limit).correlate(None)
    rows = session.execute(_ROWS.where(Classification.run_id == run, Classification.image.in_(chosen)))
    return sorted((queries.Classified(*row) for row in rows), key=_rank)


def _merge(first: list[queries.Classified], second: list[queries.Classified]) -> list[queries.Classified]:
    return sorted([*first, *second], key=_rank)[:LEAST_CERTAIN]


def _rank(result: queries.Classified) -> tuple[int, float, bool, float, float, int]:
    """Return the key of the order of `producer.reports.certainty.least_certain_first`."""
    is_wrong = None not in (result.predicted, result.label) and result.predicted != result.label
    probability = result.margin if result.probability is None else result.probability
    gap = result.energy_gap
    return (0 if is_wrong else 1, probability, gap is None, gap or 0.0, result.margin, result.image)
