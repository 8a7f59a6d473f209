"""Settings for a target: the Pareto front, the cheapest choice, and refusals that name the nearest target."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producer.forecasts.offers import Offer, PlannedRound
from producer.forecasts.target import Job, choose, estimate, finishing_time, pareto_front
from schema.calendar.run_hours import RunHours
from schema.calendar.windows import Windows
from schema.errors import ParameterError
from schema.parameters import Parameters
from schema.quantities import percent

NOW = datetime(2026, 11, 30, 21, 0, tzinfo=UTC)
JOB = Job(1_000, NOW, RunHours())


def offer(
    right: int, reads: int, *, qpu: str = "one", tiles: int = 100, later: tuple[PlannedRound, ...] = ()
) -> Offer:
    return Offer(
        1, qpu, Parameters(reads=reads), right, 2_000, (PlannedRound(reads), *later), tiles, 10_000.0, 100.0
    )


def test_whole_problems_of_each_round_are_counted() -> None:
    assert offer(1, 10).qpu_us(101) == 2 * (10_000 + 1_000)
    both = offer(1, 10, later=(PlannedRound(50, 0.05),))
    assert both.qpu_us(1_000) == 10 * 11_000 + 1 * 15_000
    assert both.qpu_us(10_000) == 100 * 11_000 + 5 * 15_000


@given(st.lists(st.tuples(st.integers(1_500, 2_000), st.integers(1, 500)), min_size=1, max_size=30))
def test_the_choice_is_that_of_a_search_through_all(pairs: list[tuple[int, int]]) -> None:
    estimates = estimate([offer(right, reads) for right, reads in pairs], JOB)
    front = pareto_front(estimates)
    assert [one.qpu_us for one in front] == sorted(one.qpu_us for one in front)
    for one in estimates:
        assert any(best.least >= one.least and best.qpu_us <= one.qpu_us for best in front)
    target = 0.9
    reaching = [one.qpu_us for one in estimates if one.least >= target]
    if reaching:
        assert choose(front, JOB, target).qpu_us == min(reaching)
    else:
        with pytest.raises(ParameterError, match="cannot be promised"):
            choose(front, JOB, target)


def test_one_setting_alone_is_promised_more_than_one_of_several() -> None:
    good, poor = offer(1_990, 10), offer(1_000, 20)
    alone, both, many = (
        estimate(some, JOB)[0].least for some in ([good], [good, poor], [good, *[poor] * 300])
    )
    assert alone > both == many


def test_budgets_and_deadlines_are_kept_where_more_images_are_read_again_than_expected() -> None:
    one = offer(1_990, 10, later=(PlannedRound(50, 0.05, 0.2),))
    assert one.qpu_us(1_000) == 10 * 11_000 + 1 * 15_000
    assert one.most_us(1_000) == 10 * 11_000 + 2 * 15_000
    fixed = offer(1_980, 20, tiles=50)
    front = pareto_front(estimate([one, fixed], JOB))
    assert choose(front, replace(JOB, budget_us=140_000), 0.9).offer is one
    with pytest.raises(ParameterError, match=r"a budget of 0\.13 s.*this target takes 0\.14 s of QPU time"):
        choose(front, replace(JOB, budget_us=130_000), 0.9)
    late = replace(JOB, hours=RunHours(deadline_at=NOW + timedelta(seconds=0.14)))
    with pytest.raises(ParameterError, match="the deadline"):
        choose(pareto_front(estimate([one, fixed], late)), late, 0.9)


def test_prices_decide_between_qpus() -> None:
    cheap, dear = offer(1_990, 20, qpu="cheap"), offer(1_990, 10, qpu="dear")
    assert choose(pareto_front(estimate([cheap, dear], JOB)), JOB, 0.9).offer is dear
    priced = replace(JOB, prices={"": 30.0, "cheap": 1.0})
    chosen = choose(pareto_front(estimate([cheap, dear], priced)), priced, 0.9)
    assert chosen.offer is cheap
    assert chosen.price == pytest.approx(10 * 12_000 / 60e6)


def test_an_impossible_target_names_the_nearest_one_and_what_it_takes() -> None:
    front = pareto_front(estimate([offer(1_900, 10), offer(1_990, 100)], JOB))
    with pytest.raises(ParameterError, match=r"99\.9%.*--target 98.8% is possible.*calibrate with more"):
        choose(front, JOB, 0.999)
    poor = replace(JOB, budget_us=120_000)
    with pytest.raises(ParameterError, match=r"a budget of 0\.12 s: --target 93\.2% .*takes 0\.2 s"):
        choose(front, poor, 0.98)


def test_a_deadline_excludes_what_ends_later() -> None:
    hours = RunHours(deadline_at=NOW + timedelta(seconds=60.16))
    late = replace(JOB, waits_s=60.0, hours=hours)
    front = pareto_front(estimate([offer(1_900, 10), offer(1_990, 100)], late))
    assert choose(front, late, 0.93).offer.parameters.reads == 10
    with pytest.raises(ParameterError, match="the deadline Mon 2026-11-30 21:01 UTC"):
        choose(front, late, 0.98)


def test_work_continues_in_the_next_window() -> None:
    nights = RunHours(Windows.parse(["22:00-23:00"], "UTC"))
    assert finishing_time(nights, NOW, 1_800.0) == NOW + timedelta(hours=1.5)
    assert finishing_time(nights, NOW, 5_400.0) == NOW + timedelta(days=1, hours=1.5)
    assert finishing_time(RunHours(), NOW, 5.0) == NOW + timedelta(seconds=5)


def test_percentages_are_short_and_never_rounded_up_where_promised() -> None:
    assert percent(0.99) == "99%"
    assert percent(0.98768) == "98.77%"
    assert percent(0.98999, down=True) == "98.99%"
