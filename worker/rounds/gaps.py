"""Reads how certain the images of a run are, and below which energy gaps its rounds have read them again."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from schema.codecs import arrays
from schema.codecs.corruption import stored_in
from schema.codecs.nonconformity import ReadsHad
from schema.parameters import Parameters
from schema.states import BatchState
from schema.tables import Batch, Classification, Run
from worker.rounds.selection import reached

Gaps = tuple[NDArray[np.int64], NDArray[np.float64]]


def read_gaps(session: Session, run: int, *also: ColumnElement[bool]) -> Gaps:
    """Return indices (N,) and energy gaps (N,) of the images in scored batches of the first round of ``run``.

    Gaps are -inf without a class, inf where no other class has an energy. Batches with a failed problem are
    left out: a user may resume them. ``also`` are conditions on the batches.
    """
    c = Classification
    last = Batch.first_image + Batch.count - 1
    query = (
        select(c.image, c.predicted, c.energy_gap)
        .join(Batch, (Batch.run_id == c.run_id) & c.image.between(Batch.first_image, last))
        .where(c.run_id == run, Batch.round == 1, Batch.state == BatchState.SCORED, *also)
    )
    rows = session.execute(query).all()
    gaps = [-np.inf if predicted is None else np.inf if gap is None else gap for _, predicted, gap in rows]
    return np.array([row[0] for row in rows], np.int64), np.array(gaps, np.float64)


def members_of_rounds(session: Session, run: int) -> dict[int, NDArray[np.int64]]:
    """Return the indices of the images that each later round of ``run`` reads, by its number.

    Raises:
        Corrupt: which images are in a batch is damaged.
    """
    query = select(Batch.round, Batch.count, Batch.members).where(Batch.run_id == run, Batch.round > 1)
    found: dict[int, list[NDArray[np.int64]]] = {}
    with stored_in(f"a batch of run {run}", "classify the images again"):
        for number, count, members in session.execute(query.order_by(Batch.ordinal)):
            images = np.asarray(arrays.image_numbers(0, count, members), np.int64)
            found.setdefault(number, []).append(images)
    return {number: np.concatenate(parts) for number, parts in found.items()}


def reads_had(session: Session, run: int, parameters: Parameters, before: int | None = None) -> ReadsHad:
    """Return how often the images of ``run`` were read, and below which energy gaps in later rounds.

    A round reads the most uncertain images. How far it came depends on its share, on budgets, and on images
    that fill its last problem. So its limit is the smallest gap of the images that it does not read; -inf if
    it was left out though some are uncertain, inf if it reads all. Images that were calibrated with, followed
    through the same limits, are read in the same way as those of the run. Images that only a still later
    round reads do not count: their gaps of that time are not stored.

    Args:
        run: which was sampled; a run that scores its reads again has its limits.
        parameters: of the run that is scored.
        before: number of a round: later ones do not count; None: all do.

    Raises:
        Corrupt: which images are in a batch is damaged.
    """
    source = session.execute(select(Run.rescored_from).where(Run.id == run)).scalar() or run
    rounds = (parameters.rounds or ())[: None if before is None else max(before - 2, 0)]
    if not rounds:
        return ReadsHad(parameters.reads)
    members = members_of_rounds(session, source)
    images, gaps = read_gaps(session, source)
    later = []
    for number, wanted in enumerate(rounds, start=2):
        read = [some for each, some in members.items() if each >= number]
        is_read = np.isin(images, np.concatenate([images[:0], *read]))
        later.append((wanted.reads, reached(gaps, is_read, wanted.gap)))
    return ReadsHad(parameters.reads, tuple(later))
