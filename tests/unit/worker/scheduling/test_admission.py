"""Admission of problems within limits and budgets."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schema.states import PausedBy, RunState
from worker.scheduling.admission import Admission, Budget, HoldReason, Usage, pause_reason, within_limits

FREE = Usage(RunState.RUNNING, 0, 400)


def budget(
    limit_us: int, spent_us: float = 0, in_flight_us: float = 0, ratio: float = 1.0
) -> dict[str, object]:
    return {"budgets": {HoldReason.BUDGET: Budget(limit_us, spent_us, in_flight_us, ratio)}}


def day_and(limit_us: int, **others: Budget) -> dict[str, object]:
    named = {HoldReason(name): other for name, other in others.items()}
    return {"budgets": {HoldReason.DAY: Budget(limit_us), **named}}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, Admission(3)),
        ({"run": RunState.PAUSED}, Admission(0, HoldReason.RUN)),
        ({"run": RunState.CANCELLED}, Admission(0, HoldReason.RUN)),
        ({"in_flight": 398}, Admission(2, HoldReason.ROOM)),
        ({"in_flight": 500}, Admission(0, HoldReason.ROOM)),
        # 100 us each: several at a time only if twice as much is left.
        (budget(600), Admission(3)),
        (budget(599), Admission(2, HoldReason.CAUTION)),
        (budget(300), Admission(1, HoldReason.CAUTION)),
        (budget(199), Admission(1, HoldReason.BUDGET)),
        (budget(300, 250), Admission(0, HoldReason.BUDGET)),
        (budget(300, 200, 100), Admission(0, HoldReason.CAUTION)),
        (budget(300, 100, 100), Admission(0, HoldReason.CAUTION)),
        (budget(700, 300, 300), Admission(0, HoldReason.CAUTION)),
        (budget(800, 300, 300), Admission(1, HoldReason.CAUTION)),
        (budget(900, 300, 300), Admission(1, HoldReason.CAUTION)),
        # What is in flight costs more than estimated, too.
        (budget(139, ratio=1.4), Admission(0, HoldReason.BUDGET)),
        (budget(140, ratio=1.4), Admission(1, HoldReason.BUDGET)),
        (budget(240, 100, ratio=1.4), Admission(1, HoldReason.BUDGET)),
        (budget(240, 100, 100, ratio=1.4), Admission(0, HoldReason.BUDGET)),
        (budget(840, ratio=1.4), Admission(3)),
        (budget(840, 1, ratio=1.4), Admission(2, HoldReason.CAUTION)),
        (day_and(150), Admission(1, HoldReason.DAY)),
        (day_and(150, month=Budget(150)), Admission(1, HoldReason.MONTH)),
        ({**day_and(150), "in_flight": 399}, Admission(1, HoldReason.DAY)),
        (day_and(50, budget=Budget(250)), Admission(0, HoldReason.DAY)),
        # 100 us each, and what an answer takes: the queue's time, or the latest answers', and a margin.
        ({"window_s": 3600.0}, Admission(3)),
        ({"window_s": 0.0}, Admission(0, HoldReason.WINDOW)),
        ({"window_s": 200e-6}, Admission(2, HoldReason.WINDOW)),
        ({"window_s": 200e-6, "queue_us": 100}, Admission(1, HoldReason.WINDOW)),
        ({"window_s": 10.0, "margin_s": 10.5}, Admission(0, HoldReason.WINDOW)),
        ({"window_s": 10.0, "margin_s": 5.0, "answer_s": 4.0}, Admission(3)),
        ({"window_s": 10.0, "margin_s": 5.0, "answer_s": 6.0}, Admission(0, HoldReason.WINDOW)),
        ({"window_s": 0.0, "deadline_s": -1.0}, Admission(0, HoldReason.DEADLINE)),
        ({"window_s": 100e-6, "deadline_s": 200e-6}, Admission(1, HoldReason.WINDOW)),
    ],
)
def test_limits(changes: dict[str, object], expected: Admission) -> None:
    assert within_limits(replace(FREE, **changes), [100, 100, 100]) == expected  # type: ignore[arg-type]


@given(
    st.lists(st.integers(1, 1000), min_size=1, max_size=30),
    st.integers(0, 5000),
    st.integers(0, 20_000),
    st.floats(1.0, 2.0),
    st.integers(1, 8),
)
def test_a_budget_is_exceeded_by_one_problem_at_most(
    estimates: list[int], spent: int, limit: int, factor: float, at_once: int
) -> None:
    """Problems are sent in groups and answered one by one, each for ``factor`` times its estimate."""
    waiting, flying, charged = list(estimates), list[int](), float(spent)
    while True:
        spent_us = charged + sum(flying)
        usage = replace(FREE, **budget(limit, spent_us, sum(flying)))  # type: ignore[arg-type]
        admitted = within_limits(usage, waiting[:at_once]) if waiting else Admission(0)
        flying += waiting[: admitted.problems]
        waiting = waiting[admitted.problems :]
        if not flying:
            break
        charged += factor * flying.pop(0)
    assert charged <= max(limit, spent) + factor * max(estimates)
    assert not waiting or charged + waiting[0] > limit


def test_a_pause_says_what_was_spent_and_what_to_do() -> None:
    usage = replace(FREE, **budget(2_000_000, 1_500_000, ratio=1.5))  # type: ignore[arg-type]
    text = pause_reason(usage, PausedBy.BUDGET, 400_000)
    for part in ("0.6 s", "2 s", "1.5 s", "runs resume"):
        assert part in text
    assert "in flight" not in text
    usage = replace(FREE, **budget(2_000_000, 1_500_000, 200_000, ratio=1.5))  # type: ignore[arg-type]
    assert "0.3 s of it expected for problems in flight" in pause_reason(usage, PausedBy.BUDGET, 400_000)
    usage = replace(FREE, budgets={HoldReason.MONTH: Budget(2_000_000, 1_500_000)})
    text = pause_reason(usage, PausedBy.MONTH, 600_000)
    for part in ("0.6 s", "this month", "first of the next month", "ANNEALQ_WORKER_MONTH_BUDGET_S"):
        assert part in text
