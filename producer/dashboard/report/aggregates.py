"""Counts of the classified images of a run, and its least certain images; each image is read once.

Images of a scored batch no longer change, so that an update reads only those that were added.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Integer, String, and_, case, cast, func, or_, select
from sqlalchemy.orm import Session

from producer.dashboard.charts.svg_charts import TimedAmount
from producer.reports import certainty
from producer.runs import queries
from schema.states import BatchState
from schema.tables import Batch, Classification

MARGIN_BINS = 25
LEAST_CERTAIN = 24  # images
_RANGES = 200  # in one query
_MAX_RUNS = 64  # whose counts a process stores


@dataclass(frozen=True, eq=False)
class Aggregates:
    """Counts of classified images by outcome.

    Attributes:
        classes: K, their number.
        keys: (n,) int64, different outcomes; see `_outcome`.
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
    if len(stored.batches) != summary.batches_scored:
        _add(session, run, classes, stored)
    images, undecided, decided = stored.images, stored.undecided, stored.decided
    if summary.batches_failed:  # some of their images may be classified
        failed = select(Batch.first_image, Batch.count).where(
            Batch.run_id == run, Batch.state == BatchState.FAILED
        )
        for ranges in _ranges([(first, count) for first, count in session.execute(failed)]):
            images = images + _count(session, run, classes, ranges)
            undecided = _merge(undecided, _undecided(session, run, ranges))
            decided = _merge(decided, _decided(session, run, ranges))
    keys = np.array(list(images), dtype=np.int64)
    counts = np.array(list(images.values()), dtype=np.int64)
    return Aggregates(classes, keys, counts, tuple(undecided), tuple(decided), tuple(stored.scored))


def _add(session: Session, run: int, classes: int, stored: _Stored) -> None:
    """Add to ``stored`` the batches of ``run`` that were scored since."""
    columns = (Batch.id, Batch.first_image, Batch.count, Batch.scored_at)
    scored = select(*columns).where(Batch.run_id == run, Batch.state == BatchState.SCORED)
    done = {batch: (first, count, when) for batch, first, count, when in session.execute(scored)}
    if stored.batches - done.keys():  # sampled again after a repair
        stored.__init__()  # type: ignore[misc]
    new = [batch for key, batch in done.items() if key not in stored.batches]
    for ranges in _ranges([(first, count) for first, count, _ in new]):
        stored.images += _count(session, run, classes, ranges)
        stored.undecided = _merge(stored.undecided, _undecided(session, run, ranges))
        stored.decided = _merge(stored.decided, _decided(session, run, ranges))
    times = [TimedAmount(when, count) for _, count, when in new if when is not None]
    stored.scored = sorted([*stored.scored, *times], key=lambda each: each.when)
    stored.batches |= done.keys()


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
    outcomes = func.aggregate_strings(cast(_outcome(session, classes), String), ",")
    text = session.execute(select(outcomes).where(Classification.run_id == run, ranges)).scalar()
    if not text:
        return Counter()
    keys, counts = np.unique(np.fromstring(text, dtype=np.int64, sep=","), return_counts=True)
    return Counter(dict(zip(keys.tolist(), counts.tolist(), strict=True)))


def _outcome(session: Session, classes: int) -> ColumnElement[int]:
    """Return label, predicted class, bin of the margin, tied, has a probability as digits of one number.

    Without a label or a class, the digit is ``classes``. Margins of 1 have a bin of their own.
    """
    c = Classification
    scaled = c.margin * MARGIN_BINS
    if session.get_bind().dialect.name == "postgresql":  # a cast would round
        scaled = func.floor(scaled)
    bins = case((c.margin >= certainty.FULL_MARGIN, MARGIN_BINS), else_=cast(scaled, Integer))
    label, predicted = func.coalesce(c.label, classes), func.coalesce(c.predicted, classes)
    tied, probable = case((c.status == "tied", 2), else_=0), case((c.probability.is_not(None), 1), else_=0)
    return ((label * (classes + 1) + predicted) * (MARGIN_BINS + 1) + bins) * 4 + tied + probable


def _undecided(session: Session, run: int, ranges: ColumnElement[bool]) -> list[queries.Classified]:
    return _first(session, run, (ranges, Classification.predicted.is_(None)), LEAST_CERTAIN)


def _decided(session: Session, run: int, ranges: ColumnElement[bool]) -> list[queries.Classified]:
    """Return the least certain of the decided images in ``ranges``, wrong ones first.

    Wrong ones are looked for alone first: mostly they suffice, and the right ones need not be sorted.
    """
    c = Classification
    wrong = _first(session, run, (ranges, c.predicted != c.label), LEAST_CERTAIN)
    rest = LEAST_CERTAIN - len(wrong)
    right = or_(c.predicted == c.label, and_(c.predicted.is_not(None), c.label.is_(None)))
    return wrong + (_first(session, run, (ranges, right), rest) if rest else [])


def _first(
    session: Session, run: int, conditions: Sequence[ColumnElement[bool]], limit: int
) -> list[queries.Classified]:
    # Only numbers are sorted: rows with their scores are wide.
    c = Classification
    order = certainty.least_certain_first()
    numbers = select(c.image).where(c.run_id == run, *conditions).order_by(*order).limit(limit)
    chosen = session.execute(numbers).scalars().all()
    rows = session.execute(select(*queries.CLASSIFIED).where(c.run_id == run, c.image.in_(chosen)))
    return sorted((queries.Classified(*row) for row in rows), key=_rank)


def _merge(first: list[queries.Classified], second: list[queries.Classified]) -> list[queries.Classified]:
    return sorted([*first, *second], key=_rank)[:LEAST_CERTAIN]


def _rank(result: queries.Classified) -> tuple[int, float, bool, float, float, int]:
    """Return the key of the order of `producer.reports.certainty.least_certain_first`."""
    is_wrong = None not in (result.predicted, result.label) and result.predicted != result.label
    probability = result.margin if result.probability is None else result.probability
    gap = result.energy_gap
    return (0 if is_wrong else 1, probability, gap is None, gap or 0.0, result.margin, result.image)
