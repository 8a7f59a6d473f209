"""Reads how reliable the probabilities of a run are: its labelled images in bins."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from schema.network.reliability import BINS
from schema.tables import Classification


@dataclass(frozen=True)
class ReliabilityBin:
    """Labelled images whose probabilities lie in bin ``index`` of `BINS` equal ones."""

    index: int
    images: int
    probability: float  # mean, of the predicted class
    correct: int


def bins(session: Session, run: int) -> tuple[ReliabilityBin, ...]:
    """Read from ``session`` the bins of ``run`` that have images, in ascending order."""
    c = Classification
    limits = [(c.probability >= k / BINS, k) for k in range(BINS - 1, 0, -1)]
    labelled = (
        select(
            case(*limits, else_=0).label("index"),
            c.probability.label("probability"),
            case((c.predicted == c.label, 1), else_=0).label("right"),
        )
        .where(c.run_id == run, c.label.is_not(None), c.probability.is_not(None))
        .subquery()
        .c
    )
    rows = session.execute(
        select(labelled.index, func.count(), func.avg(labelled.probability), func.sum(labelled.right))
        .group_by(labelled.index)
        .order_by(labelled.index)
    )
    return tuple(
        ReliabilityBin(index, images, float(mean), int(right)) for index, images, mean, right in rows
    )
