"""How far batches are that workers sample without qubits, by the time that finished ones took.

Such a batch says nothing until it is done, and those of several workers end together: by finished batches
alone, progress would move in steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from schema.states import BatchState
from schema.tables.runs import Batch

_NEWEST = 32  # finished batches whose time counts
_MOST = 0.95  # of a batch: one that takes longer than others is not done


@dataclass(frozen=True)
class BatchesUnderWay:
    """What workers have done of unfinished batches.

    Attributes:
        images: the images that are done, by time; a fraction of those of the batches.
        least_s: seconds that the longest batch that is left takes, from when this was read.
    """

    images: float
    least_s: float


def batches_under_way(session: Session, run: int, number: int, now: datetime) -> BatchesUnderWay | None:
    """Return how far the batches of round ``number`` of ``run`` are that are sampled ``now``.

    None before one of them is finished: other rounds have other reads.
    """
    of_round = (Batch.run_id == run, Batch.round == number)
    ended = (
        select(Batch.started_at, Batch.sampled_at, Batch.count.label("images"))
        .where(*of_round, Batch.sampled_at.is_not(None), Batch.started_at.is_not(None))
        .order_by(Batch.sampled_at.desc())
        .limit(_NEWEST)
    )
    finished = session.execute(ended).all()
    took_s = sum((row.sampled_at - row.started_at).total_seconds() for row in finished)
    if took_s <= 0:
        return None
    per_image_s = took_s / sum(row.images for row in finished)
    held = (Batch.state == BatchState.SAMPLING, Batch.lease_until > now, Batch.started_at.is_not(None))
    begun = session.execute(
        select(Batch.started_at, Batch.count.label("images")).where(*of_round, *held)
    ).all()
    waiting = select(func.max(Batch.count)).where(*of_round, Batch.state == BatchState.PENDING)
    largest = session.execute(waiting).scalar()
    images, left_s = 0.0, []
    for row in begun:
        whole_s = per_image_s * row.images
        done = min(max((now - row.started_at).total_seconds() / whole_s, 0.0), _MOST)
        images += done * row.images
        left_s.append((1.0 - done) * whole_s)
    return BatchesUnderWay(images, max([*left_s, per_image_s * (largest or 0)]))
