"""Faults: how often they happen, which go together, and which are none."""

from __future__ import annotations

import time
from typing import Any

import pytest

from schema.errors import ParameterError
from worker.emulator.service.faults import Fault, FaultKind, Faults, Target, View, parse, parse_option


def test_faults_happen_as_often_as_asked_and_one_at_a_time() -> None:
    faults = Faults(seed=0)
    delay, error, reset = (
        parse_option(text)
        for text in (
            "target=poll,kind=delay",
            "target=poll,kind=error,count=2",
            "target=poll,kind=reset,count=1",
        )
    )
    faults.active += [delay, error, reset]
    assert faults.pick(Target.SUBMIT, "before") == []
    assert [faults.pick(Target.POLL, "before") for _ in range(4)] == [
        [delay, error],
        [delay, error],
        [delay, reset],
        [delay],
    ]
    assert (delay.fired, error.fired, reset.fired) == (4, 2, 1)


def test_a_fault_after_acceptance_does_not_happen_before() -> None:
    faults = Faults(seed=0)
    faults.active.append(Fault(Target.SUBMIT, FaultKind.RESET, when="after"))
    assert faults.pick(Target.SUBMIT, "before") == []
    assert len(faults.pick(Target.SUBMIT, "after")) == 1


def test_a_fault_by_chance_happens_about_so_often() -> None:
    faults = Faults(seed=1)
    faults.active.append(Fault(Target.LIST, FaultKind.ERROR, probability=0.3))
    happened = sum(bool(faults.pick(Target.LIST, "before")) for _ in range(10_000))
    assert abs(happened - 3000) < 4 * (10_000 * 0.3 * 0.7) ** 0.5


def test_a_fault_is_read_from_an_option() -> None:
    fault = parse_option("target=submit,kind=error,when=after,status=429,retry_after=0.5,probability=0.25")
    assert fault == Fault(
        Target.SUBMIT, FaultKind.ERROR, when="after", status=429, retry_after=0.5, probability=0.25
    )


@pytest.mark.parametrize(
    "given_fault",
    [
        None,
        {},
        {"target": "submit", "kind": "error", "status": 99},
        {"target": "submit", "kind": "error", "retry_after": -1},
        {"target": "submit", "kind": "error", "probability": True},
        {"target": "submit", "kind": "error", "when": "never"},
        {"target": "submit", "kind": "corrupt", "damage": "base64"},
        {"target": "submit", "kind": "error", "fired": 3},
    ],
)
def test_wrong_faults_are_refused(given_fault: object) -> None:
    with pytest.raises(ParameterError):
        parse(given_fault)


@pytest.mark.parametrize(
    "given_fault",
    [
        {"target": "problem", "kind": "error"},
        {"target": "problem", "kind": "delay"},
        {"target": "poll", "kind": "lag"},
        {"target": "submit", "kind": "fail"},
        {"target": "any", "kind": "charge"},
        {"target": "list", "kind": "gone"},
        {"target": "poll", "kind": "gone", "status": 500},
        {"target": "any", "kind": "purge", "newest": 0},
        {"target": "any", "kind": "purge", "status": 503},
        {"target": "problem", "kind": "charge", "factor": 0},
        {"target": "problem", "kind": "charge", "spread": 0.6},
        {"target": "problem", "kind": "fail", "charged": 1},
        {"target": "problem", "kind": "fail", "message": "two\nlines"},
        {"target": "answer", "kind": "hide"},
        {"target": "any", "kind": "deprecate", "sunset": "soon"},
        {"target": "any", "kind": "deprecate", "context": "weather"},
        {"target": "any", "kind": "expire", "duration_s": -1},
    ],
)
def test_kinds_have_their_targets_and_ranges(given_fault: dict[str, Any]) -> None:
    with pytest.raises(ParameterError):
        parse(given_fault)


@pytest.mark.parametrize(("kind", "status"), [("error", 503), ("expire", 401), ("gone", 410), ("purge", 404)])
def test_kinds_have_a_status_of_their_own(kind: str, status: int) -> None:
    target = "poll" if kind == "gone" else "any"
    assert parse({"target": target, "kind": kind}).status == status
    assert parse({"target": target, "kind": kind, "status": 410}).status == 410


def test_a_fault_of_any_request_is_none_of_problems() -> None:
    faults = Faults(seed=0)
    faults.active.append(Fault(Target.ANY, FaultKind.EXPIRE))
    happened = [target for target in Target if faults.pick(target)]
    assert set(Target) - set(happened) == {Target.PROBLEM}


def test_a_fault_ends_after_its_duration() -> None:
    faults = Faults(seed=0)
    faults.active.append(Fault(Target.ANY, FaultKind.EXPIRE, duration_s=0.05))
    assert faults.pick(Target.POLL)
    time.sleep(0.06)
    assert faults.pick(Target.POLL) == []


def test_a_problem_can_fail_and_be_charged_wrongly_at_once() -> None:
    faults = Faults(seed=0)
    faults.active += [
        Fault(Target.PROBLEM, FaultKind.CHARGE, factor=1.5, spread=0.001),
        Fault(Target.PROBLEM, FaultKind.FAIL, count=1),
        Fault(Target.PROBLEM, FaultKind.FAIL),
    ]
    first, second = faults.pick(Target.PROBLEM), faults.pick(Target.PROBLEM)
    assert first == faults.active[:2]
    assert second == [faults.active[0], faults.active[2]]
    factors = [faults.charge_factor(first) for _ in range(1000)]
    assert 1.5 * 0.999 <= min(factors) < 1.4991
    assert 1.5009 < max(factors) <= 1.5 * 1.001
    assert faults.charge_factor([]) == 1


def test_charges_are_the_same_again_under_the_same_seed() -> None:
    fault = Fault(Target.PROBLEM, FaultKind.CHARGE, spread=0.001)
    first, again, other = (Faults(seed).charge_factor([fault]) for seed in (1, 1, 2))
    assert first == again != other


def test_a_view_has_the_longest_lag_and_the_strictest_purge() -> None:
    faults = [
        Fault(Target.LIST, FaultKind.LAG, delay_s=2),
        Fault(Target.LIST, FaultKind.LAG, delay_s=5),
        Fault(Target.ANY, FaultKind.PURGE, newest=10),
        Fault(Target.ANY, FaultKind.PURGE, newest=4, status=410),
    ]
    assert View.under(faults) == View(5, 4, 410)
    assert View.under([]) == View(0, None)


def test_options_name_booleans_and_dates() -> None:
    fault = parse_option("target=problem,kind=fail,charged=true,message=Internal SAPI Error,probability=0.1")
    assert (fault.charged, fault.message) == (True, "Internal SAPI Error")
    assert parse_option("target=any,kind=deprecate,sunset=2026-12-31").sunset == "2026-12-31"
