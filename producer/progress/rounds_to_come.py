"""Says what the rounds of reads that a run has not begun are expected to read, and what that costs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, func, or_, select
from sqlalchemy.orm import Session

from producer.progress.intake import expected_images
from schema.states import FINISHED_RUNS
from schema.tables import Calibration, Classification, Run


@dataclass(frozen=True)
class RoundToCome:
    """A round that has not begun.

    Attributes:
        images: that it is expected to read; those that it may read at most, if it is not ``known``.
        times: cost of its problems relative to those of the first round.
        known: whether a calibration, or the images that are classified so far, say how many.
    """

    images: int
    times: float
    known: bool


def rounds_to_come(session: Session, run: Row[Any] | Run) -> list[RoundToCome]:
    """Return the rounds of reads that ``run`` has not begun.

    They are expected to read as many images as the calibration of the run measured. Without one, and with a
    confidence, for whose sets images are read, too, the share of uncertain images among those classified so
    far counts.
    """
    parameters = run.parameters
    rounds = (parameters.get("rounds") or ())[run.round - 1 :]
    if not rounds or run.rescored_from is not None or run.state in FINISHED_RUNS:
        return []
    plans = plans_of(session, run)
    shares = expected_shares(plans, parameters)
    has_sets = parameters.get("confidence") is not None
    if shares is not None and not has_sets:
        expected: list[float | None] = list(shares[run.round - 1 :])
    else:
        expected = [_uncertain_share(session, run.id, gap, has_sets=has_sets) for _, gap, _ in rounds]
    images = expected_images(session, run.id)
    return [
        RoundToCome(
            math.ceil(min(most, 1.0 if share is None else share) * images),
            relative_cost(plans, reads, parameters["reads"]),
            share is not None,
        )
        for (reads, _, most), share in zip(rounds, expected, strict=True)
    ]


def expected_shares(
    plans: Mapping[str, Any] | None, parameters: Mapping[str, Any]
) -> tuple[float, ...] | None:
    """Return the shares of images that the later rounds of ``parameters`` are expected to read.

    None: the ``plans`` of the run's calibration do not have them. The parameters are by name as a run's row
    stores them.
    """
    wanted = [list(each[:2]) for each in parameters.get("rounds") or ()]
    for values in (plans or {}).get("listed", ()):
        if values["reads"] == parameters["reads"] and [list(each) for each in values["rounds"]] == wanted:
            return tuple(float(share) for share in values["shares"])
    return None


def plans_of(session: Session, run: Row[Any] | Run) -> dict[str, Any] | None:
    """Return the plans of reads that the calibration of ``run`` has compared; None without any."""
    query = select(Calibration.measured).where(Calibration.id == run.calibrated_by)
    plans: dict[str, Any] | None = (session.execute(query).scalar() or {}).get("plans")
    return plans


def relative_cost(plans: Mapping[str, Any] | None, reads: int, first: int) -> float:
    """Return the cost of a problem of ``reads`` relative to one of ``first``, by the prices of ``plans``.

    Without them it is the most that it can be: programming is taken to cost nothing.
    """
    if plans is None:
        return max(reads / first, 1.0)
    fixed, read = plans["fixed_us"], plans["read_us"]
    return float((fixed + read * reads) / (fixed + read * first))


def _uncertain_share(session: Session, run: int, gap: float, *, has_sets: bool) -> float | None:
    """Return the share of the images of ``run`` classified so far that are uncertain; None: there are none.

    They have no class, an energy gap below ``gap``, or, in a run that ``has_sets``, a set of several classes.
    """
    c = Classification
    uncertain = or_(c.predicted.is_(None), c.energy_gap < gap)
    if has_sets:
        uncertain = or_(uncertain, c.set_size > 1)
    query = select(func.count(), func.count().filter(uncertain)).where(c.run_id == run)
    images, some = session.execute(query).one()
    return some / images if images else None
