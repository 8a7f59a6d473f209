"""Which QPU gets a batch: properties of the decision, whatever the QPUs are like."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.scheduling.sharing import QpuCandidate, decide, spread

PRICES = st.integers(1, 1_000).map(float)


@st.composite
def qpus(draw: st.DrawFn) -> list[QpuCandidate]:
    """Up to five QPUs of different price, work, load and health."""
    return [
        QpuCandidate(
            name=f"q{number}",
            batch_us=draw(PRICES) * 1e3,
            image_us=draw(PRICES),
            known=draw(st.booleans()),
            backlog_us=draw(st.integers(0, 1_000)) * 1e3,
            load=draw(st.sampled_from([0.0, 0.5, 1.0])),
            barred=draw(st.sampled_from([None, None, "offline"])),
        )
        for number in range(draw(st.integers(1, 5)))
    ]


@given(qpus(), st.booleans(), st.none() | st.integers(0, 10**6), st.integers(0, 1_000))
def test_a_batch_goes_to_the_best_that_can_take_it(
    candidates: list[QpuCandidate], cheapest: bool, left_us: int | None, rest: int
) -> None:
    decision = decide(candidates, cheapest=cheapest, left_us=left_us, rest=rest)
    able = [each for each in candidates if each.barred is None]
    if decision is None:
        assert able == []
        return
    chosen = decision.qpu
    assert chosen in able
    assert decision.why.count("done in") == len(able)  # it tells of all
    least_us = min(each.image_us for each in able)
    paid = [each for each in able if left_us is None or each.batch_us + rest * least_us <= left_us]
    if cheapest or not paid:
        assert all((chosen.batch_us, chosen.done_s) <= (each.batch_us, each.done_s) for each in able)
    else:
        assert chosen in paid
        assert all(chosen.done_s <= each.done_s for each in paid)
    # Whatever else is barred, and in whichever order, the same one is chosen, unless others are as good.
    alone = [replace(each, barred=each.barred if each.name == chosen.name else "off") for each in candidates]
    again = decide(alone, cheapest=cheapest, left_us=left_us, rest=rest)
    assert again is not None
    assert again.qpu == chosen


@given(qpus())
def test_equal_qpus_are_taken_in_the_order_of_their_names_and_begun_batches_stay(
    candidates: list[QpuCandidate],
) -> None:
    alike = [replace(candidates[0], name=each.name, barred=each.barred) for each in candidates]
    able = [each for each in alike if each.barred is None]
    for cheapest in (False, True):
        decision = decide(alike, cheapest=cheapest)
        assert (decision and decision.qpu) == (able[0] if able else None)
    if able:
        begun = [replace(each, begun=each.name == able[-1].name) for each in candidates]
        decision = decide(begun, cheapest=True, left_us=0.0, rest=10**6)
        assert decision is not None
        assert decision.qpu.name == able[-1].name


@given(PRICES, PRICES, st.integers(1, 60))
def test_batches_are_spread_so_that_all_qpus_are_done_at_nearly_the_same_time(
    first_us: float, second_us: float, batches: int
) -> None:
    both = [QpuCandidate("a", batch_us=first_us), QpuCandidate("b", batch_us=second_us)]
    counts = spread(both, batches, 10)
    assert sum(counts.values()) == batches
    ends = [counts[each.name] * each.batch_us for each in both]
    assert abs(ends[0] - ends[1]) <= max(first_us, second_us)
    if first_us != second_us:
        only = min(both, key=lambda each: each.batch_us).name
        assert spread(both, batches, 10, cheapest=True)[only] == batches


def test_what_does_not_take_problems_gets_none() -> None:
    offline = QpuCandidate("a", barred="offline")
    assert decide([offline]) is None
    assert spread([offline], 3, 10) == {"a": 0}


@pytest.mark.parametrize(("load", "done_s"), [(0.0, 2.0), (0.5, 4.0), (1.0, 40.0), (7.0, 40.0)])
def test_a_busy_qpu_takes_longer(load: float, done_s: float) -> None:
    assert QpuCandidate("a", batch_us=1e6, backlog_us=1e6, load=load).done_s == pytest.approx(done_s)
