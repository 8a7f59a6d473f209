"""What each owner has used on this day (UTC), for the owners that use the most; the others are one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

from prometheus_client.core import GaugeMetricFamily, Metric
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from producer.api.keys.limits import day_of
from schema.tables import Batch, Problem, Run
from schema.tables.api import Owner, RunSubmission
from schema.tables.costs import charged_us, round_charge

MOST_OWNERS = 20  # with a series of their own; each costs memory in Prometheus
OTHERS = "(others)"  # the name of an owner has no brackets


def collect(session: Session, now: datetime) -> Iterator[Metric]:
    """Yield the usage of owners in ``session`` on the day of ``now``."""
    day = day_of(now)
    since = (RunSubmission.created_at >= day,)
    runs = session.execute(
        select(Owner.name, func.count())
        .join(RunSubmission, RunSubmission.owner_id == Owner.id)
        .where(*since)
        .group_by(Owner.name)
    )
    images = session.execute(select(Owner.name, Owner.images).where(Owner.day == day))
    charges = session.execute(
        select(Owner.name, func.sum(charged_us()))
        .join(RunSubmission, RunSubmission.owner_id == Owner.id)
        .join(Run, Run.id == RunSubmission.run_id)
        .join(Batch, Batch.run_id == Run.id)
        .join(Problem, Problem.batch_id == Batch.id)
        .where(*since)
        .group_by(Owner.name)
    )
    yield _gauge("runs", "Runs of an owner", {name: float(count) for name, count in runs})
    yield _gauge("images", "Images of an owner's runs", {name: float(count) for name, count in images})
    seconds = {name: round_charge(us) / 1e6 for name, us in charges}
    yield _gauge("qpu_seconds", "QPU time charged to an owner's runs", seconds)


def _gauge(what: str, text: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(f"annealq_owner_day_{what}", f"{text} of this day (UTC)", labels=["owner"])
    highest = sorted(values.items(), key=lambda item: (-item[1], item[0]))
    for owner, value in highest[:MOST_OWNERS]:
        family.add_metric([owner], value)
    family.add_metric([OTHERS], sum(value for _, value in highest[MOST_OWNERS:]))
    return family
