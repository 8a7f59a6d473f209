"""A run as plain JSON, its confusion table and its mean scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from producer.progress import intake, rounds, stages
from producer.progress.reasons import Outage, outages_of
from producer.runs import qpus, queries
from schema.calendar.run_hours import RunHours
from schema.codecs import arrays
from schema.codecs.corruption import stored_in
from schema.quantities import count_text
from schema.states import FINISHED_RUNS

_ABOUT = 1.05  # charges vary a little around their estimates
MAX_CLASSES = 26  # wider tables are hard to read


@dataclass(frozen=True)
class ConfusionRow:
    """A true class. ``counts`` are its images by column; ``share`` of them were classified correctly."""

    label: int
    name: str
    counts: tuple[int, ...]
    share: float


@dataclass(frozen=True)
class ConfusionTable:
    """Images by true class (rows) and predicted class (columns: all classes, and undecided ones if any)."""

    columns: tuple[str, ...]
    rows: tuple[ConfusionRow, ...]


def run_object(session: Session, run_id: int, now: datetime | None = None) -> dict[str, Any]:
    """Return run ``run_id`` as `runs show --json` prints it ``now``: plain JSON, read by ``session``."""
    run = queries.run(session, run_id)
    counts = queries.counts(session, run_id)
    values = plain(asdict(run))
    of_rounds = rounds.rounds_of(session, run_id)
    again = rounds.read_again(session, run_id, of_rounds)
    now, used = now or datetime.now(UTC), qpus.uses(session, run_id, counts.accuracy)
    read = intake.intake_of(session, run_id, now)
    return {
        **values,
        "provisional": run.is_provisional,
        "rounds": [asdict(each) for each in of_rounds],
        "read_again": None if again is None else asdict(again),
        "tags": queries.tags(session, [run_id]).get(run_id, []),
        "decided": counts.decided,
        "tied": counts.tied,
        "undecided": counts.undecided,
        "missing": run.images - counts.decided - counts.undecided,
        "accuracy": counts.accuracy,
        "promise": promise_values(session, run, counts),
        **_hours(run, now),
        "qpus": [asdict(use) for use in used],
        "reservations": [*reservations(run), *(f"{use.qpu}: {use.alarm}" for use in used if use.alarm)],
        **outage_values(outages_of(session, [run]).get(run_id)),
        "waits": stages.waits_of(session, run_id, now),
        "intake": None if read is None else plain(asdict(read)),
    }


@dataclass(frozen=True)
class Outcome:
    """Whether a finished run kept what was promised of it, part by part; None: it cannot be said.

    Attributes:
        accuracy: its accuracy reached the target; None without labels.
        budget: its QPU time was within its budget, or without one about within what was promised.
        time: it finished by its deadline; None without a deadline.
    """

    accuracy: bool | None
    budget: bool
    time: bool | None

    @property
    def kept(self) -> bool | None:
        """Return whether all was kept; None: nothing was broken, and the accuracy is not known."""
        return False if False in (self.accuracy, self.budget, self.time) else self.accuracy


def outcome(
    promise: Mapping[str, Any], run: queries.RunSummary, counts: queries.Counts, qpu_us: float
) -> Outcome | None:
    """Return whether ``run``, which was charged ``qpu_us`` microseconds, kept its stored ``promise``.

    Images without a result count as wrong. None: the run has not finished.
    """
    if run.state not in FINISHED_RUNS or run.finished_at is None:
        return None
    within_us: float = run.budget_us or _ABOUT * promise.get("most_qpu_us", promise["qpu_us"])
    return Outcome(
        accuracy=counts.correct / run.images >= promise["target"] if run.labelled else None,
        budget=qpu_us <= within_us,
        time=None if run.deadline_at is None else run.finished_at <= run.deadline_at,
    )


def promise_values(
    session: Session, run: queries.RunSummary, counts: queries.Counts
) -> dict[str, Any] | None:
    """Return what was promised of ``run``, and its outcome; None for a run without a target."""
    promise = queries.promise(session, run.run_id)
    if promise is None:
        return None
    charged_us = (run.statistics or {}).get("qpu_access_time_us") or 0.0
    kept = outcome(promise, run, counts, charged_us)
    return {**promise, "outcome": None if kept is None else {**asdict(kept), "kept": kept.kept}}


def accuracy_note(run: queries.RunSummary, counts: queries.Counts) -> str:
    """Return what the accuracy of ``run`` is made of: correct, undecided and missing images."""
    text = "provisional, " if run.is_provisional else ""
    text += f"{counts.correct:,} of {counts.labelled:,} correct"
    if counts.undecided:
        text += f", undecided ones ({counts.undecided:,}) count as wrong"
    if missing := run.images - counts.decided - counts.undecided:
        why = "without a result" if run.state in FINISHED_RUNS else "not scored yet"
        text += f"; {count_text(missing, 'image')} {why}"
    return text


def reservations(run: queries.RunSummary) -> list[str]:
    """Return what speaks against relying on the results of ``run``, apart from its QPUs."""
    found = []
    if run.is_provisional:
        found.append("provisional: a later round of reads may change the results")
    if run.guarantee_void is not None:
        found.append(f"the guarantee of the sets of classes is void: {run.guarantee_void}")
    return found


def outage_values(outage: Outage | None) -> dict[str, Any]:
    """Return the fields of a run that tell which ``outage`` of its solver it waits for: text and facts."""
    if outage is None:
        return {"waits": None, "outage": None}
    return {"waits": outage.text, "outage": plain(asdict(outage))}


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``values`` with times as text, ready for JSON."""
    return {name: v.isoformat() if hasattr(v, "isoformat") else v for name, v in values.items()}


def confusion_table(
    confusion: Sequence[tuple[int, int | None, int]], names: Sequence[str]
) -> ConfusionTable | None:
    """Return the table of ``confusion``: true class, predicted class or None, number of images.

    None without labels, or with too many classes for a table; ``names`` are those of all classes.
    """
    if not confusion or len(names) > MAX_CLASSES:
        return None
    images = {(label, predicted): count for label, predicted, count in confusion}
    columns: list[int | None] = list(range(len(names)))
    if any(predicted is None for _, predicted, _ in confusion):
        columns.append(None)
    rows = []
    for label in sorted({label for label, _, _ in confusion}):
        counts = tuple(images.get((label, predicted), 0) for predicted in columns)
        rows.append(ConfusionRow(label, names[label], counts, counts[label] / sum(counts)))
    return ConfusionTable(tuple("undecided" if k is None else names[k] for k in columns), tuple(rows))


def scored_classes(means: NDArray[np.float64]) -> Iterator[tuple[int, list[float]]]:
    """Yield the classes that have images, with their row of the (K, K) ``means``."""
    return ((label, row.tolist()) for label, row in enumerate(means) if not np.isnan(row).any())


def mean_scores(session: Session, run_id: int, classes: int) -> NDArray[np.float64]:
    """Return (K, K) mean consensus class scores in 0..100 by true class, as in the paper's Tables 1 and 2.

    ``classes`` is K. Rows of classes without images of run ``run_id`` are NaN.
    """
    labels: list[int] = []
    rows: list[bytes] = []
    for image in queries.classified(session, run_id):
        if image.label is not None:
            labels.append(image.label)
            rows.append(image.scores)
    with stored_in(f"run {run_id}", f"score it again: `annealq runs rescore {run_id}`"):
        scores = arrays.decode_scores(rows, classes)
    return average_by_label(scores, np.array(labels, dtype=np.int64), classes)


def average_by_label(
    scores: NDArray[np.float32], labels: NDArray[np.int64], classes: int
) -> NDArray[np.float64]:
    """Return (K, K) means of (B, K) ``scores`` by (B,) ``labels``, times 100; NaN where a class has no image.

    ``classes`` is K.
    """
    sums = np.zeros((classes, classes))
    np.add.at(sums, labels, scores)
    counts = np.bincount(labels, minlength=classes)[:, None]
    with np.errstate(invalid="ignore"):
        return 100 * sums / np.where(counts == 0, np.nan, counts)


def _hours(run: queries.RunSummary, now: datetime | None) -> dict[str, str | None]:
    """Return when the window of ``run`` opens and closes next, for JSON; None for a run without windows."""
    if run.window is None or run.state in FINISHED_RUNS:
        return {"window_opens_at": None, "window_closes_at": None}
    now = now or datetime.now(UTC)
    hours = RunHours.of(run.window, run.opened_until, run.deadline_at)
    opens, closes = hours.next_open(now), hours.closes(now)
    is_open = hours.is_open(now)
    return {
        "window_opens_at": None if is_open or opens is None else opens.isoformat(),
        "window_closes_at": None if closes is None else closes.isoformat(),
    }
