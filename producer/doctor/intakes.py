"""Checks that runs whose images were read in pieces have all of them, and are not forgotten on the way."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from producer.doctor.finding import BACKUP, Finding
from schema.settings.worker import WorkerSettings
from schema.states import FINISHED_RUNS, IntakeState, RunState
from schema.tables import Intake, Run

INTAKES = "intakes"
_FORGOTTEN = timedelta(days=1)  # a reader adds images every few seconds


def intakes(session: Session, now: datetime, _limits: WorkerSettings) -> Iterator[Finding]:
    """Check in ``session`` that intakes have all images once they end, and that somebody reads the others."""
    unread = Intake.state != IntakeState.ENDED
    early = and_(unread, Run.state.in_([RunState.AGGREGATING, RunState.DONE]))
    short = and_(~unread, Intake.rows < Intake.total)
    forgotten = and_(unread, Run.state.not_in(FINISHED_RUNS), Intake.read_at < now - _FORGOTTEN)
    rows = session.execute(
        select(Run.id, Run.state, Intake.rows, Intake.total, Intake.read_at, Intake.state.label("intake"))
        .join(Run, Run.id == Intake.id)
        .where(or_(early, short, forgotten))
        .order_by(Run.id)
    )
    for row in rows.all():
        of = "" if row.total is None else f" of {row.total:,}"
        what = f"{row.rows:,}{of} rows are read"
        if row.intake is IntakeState.ENDED:
            hint = f"{BACKUP}, or classify the images again"
            yield Finding(INTAKES, "intakes", row.id, f"it has ended, but {what}", hint)
        elif row.state in (RunState.AGGREGATING, RunState.DONE):
            hint = "classify the images again: no more are added to it"
            yield Finding(INTAKES, "intakes", row.id, f"its run is {row.state}, but {what}", hint)
        else:
            what += f", and none since {row.read_at:%Y-%m-%d %H:%M:%S} UTC"
            hint = f"read on by `annealq runs resume {row.id}`, or end it by `annealq runs cancel {row.id}`"
            yield Finding(INTAKES, "intakes", row.id, what, hint)
