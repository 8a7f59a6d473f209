"""What the ledger says has been spent, added up problem by problem."""

from __future__ import annotations

from collections import Counter
from datetime import date

from sqlalchemy import select

from schema.database import Database
from schema.states import ProblemState
from schema.tables import Batch, Problem, Spending


def assert_spendings_agree(database: Database) -> None:
    """The sums that budgets are compared with are what the problems of each run and day add up to."""
    added: Counter[tuple[int, date]] = Counter()  # microseconds
    with database.reading() as session:
        for run, problem in session.execute(select(Batch.run_id, Problem).join(Problem)):
            if problem.sending_at is not None:
                flying = problem.state in (ProblemState.SENDING, ProblemState.SENT)
                us = problem.estimated_us if flying else problem.charged_us
                added[run, problem.sending_at.date()] += problem.wasted_us + (us or 0)
        kept = {(one.run_id, one.day): one.spent_us for one in session.execute(select(Spending)).scalars()}
    for sums in (kept, added):
        assert all(abs(us - round(us, 1)) < 1e-6 for us in sums.values()), "charges are in steps of 0.1 us"
    assert {key: round(us, 1) for key, us in kept.items() if us} == {
        key: round(us, 1) for key, us in added.items() if us
    }
