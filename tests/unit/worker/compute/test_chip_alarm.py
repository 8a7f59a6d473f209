"""Alarms about chips, judged on drawn series of problems."""

from __future__ import annotations

import re

import numpy as np
import pytest

from worker.compute.chip_alarm import LEAST, PAST, WINDOW, ChipProblem, ChipVerdict, compare, judge


def problems(
    count: int, seed: int, *, beta: float = 4.5, breaks: float = 0.004, spread: float = 0.04, kind: int = 1
) -> list[ChipProblem]:
    """Draw good problems of a chip with a relative ``spread`` of beta, as measured by few reads."""
    random = np.random.default_rng(seed)
    return [
        ChipProblem(
            (kind,),
            {
                "beta": beta * random.lognormal(0.0, spread),
                "chain_breaks": random.poisson(2000 * breaks) / 2000,
                "fields": random.normal(0.4, 0.25),
            },
        )
        for _ in range(count)
    ]


def judge_all(past: list[ChipProblem], new: list[ChipProblem]) -> list[ChipVerdict]:
    """Return the verdict after each of ``new``, as if all were judged at once."""
    series = past + new
    ends = range(len(past) + 1, len(series) + 1)
    return [judge(series[: end - WINDOW], series[end - WINDOW : end], alarmed=False) for end in ends]


def first_alarm(verdicts: list[ChipVerdict]) -> int | None:
    return next((number for number, verdict in enumerate(verdicts, 1) if verdict.alarm), None)


def test_good_problems_raise_no_alarm() -> None:
    past = problems(PAST, seed=1)
    assert first_alarm(judge_all(past, problems(1_000, seed=2))) is None


@pytest.mark.parametrize(("step", "spread", "most"), [(1.1, 0.04, 18), (0.9, 0.04, 18), (1.3, 0.04, 4)])
def test_a_step_in_temperature_is_seen_soon_and_named(step: float, spread: float, most: int) -> None:
    for seed in range(5):
        verdicts = judge_all(problems(PAST, seed=seed), problems(WINDOW, 100 + seed, beta=4.5 / step))
        number = first_alarm(verdicts)
        assert number is not None
        assert number <= most
        assert "inverse temperature" in str(verdicts[number - 1].alarm)


def test_more_broken_chains_are_an_alarm_and_fewer_are_not() -> None:
    past = problems(PAST, seed=3)
    assert "chain breaks" in str(judge_all(past, problems(WINDOW, 4, breaks=0.02))[-1].alarm)
    assert first_alarm(judge_all(past, problems(WINDOW, 5, breaks=0.0))) is None


def test_one_problem_that_was_programmed_wrongly_is_no_alarm() -> None:
    wrong = ChipProblem((1,), {"beta": 0.3, "chain_breaks": 0.4, "fields": 500.0})
    assert first_alarm(judge_all(problems(PAST, seed=6), [wrong, *problems(WINDOW, seed=7)])) is None


def test_an_alarm_ends_after_a_whole_window_as_before() -> None:
    past, good = problems(PAST, seed=8), problems(WINDOW, seed=9)
    assert judge(past, good, alarmed=True).over is not None
    assert judge(past, good[1:], alarmed=True) == ChipVerdict()
    assert judge(past, problems(WINDOW, seed=10, beta=4.1), alarmed=True) == ChipVerdict()


def test_problems_are_compared_with_their_own_kind() -> None:
    past = problems(PAST, seed=11) + problems(PAST, seed=12, beta=2.0, kind=2)
    mixed = [
        one for pair in zip(problems(10, 13), problems(10, 14, beta=2.0, kind=2), strict=True) for one in pair
    ]
    assert judge(past, mixed, alarmed=False) == ChipVerdict()
    warm = [ChipProblem(one.kind, {**one.measured, "beta": one.measured["beta"] / 1.3}) for one in mixed]
    assert judge(past, warm, alarmed=False).alarm is not None


def test_nothing_is_judged_without_a_past() -> None:
    few = problems(LEAST - 1, seed=15)
    assert judge(few, problems(WINDOW, 16, beta=1.0), alarmed=False) == ChipVerdict()


def few(
    count: int, *, beta: float = 4.0, breaks: float = 0.02, fields: float = 1.0
) -> list[dict[str, float]]:
    """Return measured problems whose values vary by 1 %."""
    rng = np.random.default_rng(count)
    factors = rng.normal(1.0, 0.01, (count, 3))
    return [{"beta": beta * a, "chain_breaks": breaks * b, "fields": fields * c} for a, b, c in factors]


@pytest.mark.parametrize(("past", "newest"), [(1, 1), (3, 40), (40, 3), (100, 100)])
def test_few_problems_of_the_same_chip_do_not_differ(past: int, newest: int) -> None:
    assert compare(few(past), few(newest)) is None


def test_few_problems_that_hardly_show_a_temperature_do_not_differ() -> None:
    """Measured on one emulated chip: small problems with folded visible units hardly ever flip a qubit."""
    past = [4.96, 11.65, 5.36, 4.87, 10.3, 11.99, 4.39, 4.26]
    now = [10.26, 12.33, 4.46, 5.17, 4.88, 10.77, 10.67, 10.53]
    measured = [
        [{"beta": beta, "chain_breaks": 0.0002, "fields": 0.0} for beta in each] for each in (past, now)
    ]
    assert compare(*measured) is None
    warmer = [{**each, "beta": 1.5} for each in measured[1]]
    assert "inverse temperature 1.50" in (compare(measured[0], warmer) or "")


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"beta": 3.0}, r"inverse temperature 3\.0\d, calibrated with 3\.99"),
        ({"beta": 5.5}, r"inverse temperature 5\.5\d, calibrated with 3\.99"),
        ({"breaks": 0.2}, "chain breaks "),
        ({"fields": 9.0}, "field errors "),
    ],
)
def test_a_chip_that_changed_since_is_named_with_both_values(changed: dict[str, float], named: str) -> None:
    found = compare(few(4), few(30, **changed))
    assert found is not None
    assert re.match(named, found)


def test_fewer_errors_are_no_difference() -> None:
    assert compare(few(4, fields=9.0, breaks=0.2), few(30)) is None
