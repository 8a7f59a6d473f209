"""Admission of problems within limits and budgets."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schema.states import PausedBy, RunState
from worker.scheduling.admission import Admission, HoldReason, Usage, pause_reason, within_limits

FREE = Usage(RunState.RUNNING, 0, 400, 0, None, 0, None)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, Admission(3)),
        ({"run": RunState.PAUSED}, Admission(0, HoldReason.RUN)),
        ({"run": RunState.CANCELLED}, Admission(0, HoldReason.RUN)),
        ({"in_flight": 398}, Admission(2, HoldReason.ROOM)),
        ({"in_flight": 500}, Admission(0, HoldReason.ROOM)),
        ({"run_budget_us": 300}, Admission(3)),
        ({"run_budget_us": 299}, Admission(2, HoldReason.BUDGET)),
        ({"run_budget_us": 300, "run_spent_us": 250}, Admission(0, HoldReason.BUDGET)),
        ({"day_budget_us": 150}, Admission(1, HoldReason.DAY)),
        ({"run_budget_us": 100, "in_flight": 399}, Admission(1, HoldReason.BUDGET)),
        ({"day_budget_us": 50, "run_budget_us": 250}, Admission(0, HoldReason.DAY)),
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
    st.lists(st.integers(1, 1000), max_size=30),
    st.integers(0, 5000),
    st.integers(0, 5000),
)
def test_a_budget_is_never_overshot(estimates: list[int], spent: int, budget: int) -> None:
    usage = replace(FREE, run_spent_us=spent, run_budget_us=budget)
    admitted = within_limits(usage, estimates)
    total = spent + sum(estimates[: admitted.problems])
    assert admitted.problems == 0 or total <= budget
    if admitted.reason is not None:
        assert total + estimates[admitted.problems] > budget


def test_a_pause_says_what_was_spent_and_what_to_do() -> None:
    usage = replace(FREE, run_spent_us=1_500_000, run_budget_us=2_000_000)
    text = pause_reason(usage, PausedBy.BUDGET, 600_000)
    for part in ("0.6 s", "2 s", "1.5 s", "runs resume"):
        assert part in text
