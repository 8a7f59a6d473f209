"""Waits of the circuit breaker, and who may probe a solver."""

from __future__ import annotations

from datetime import UTC, datetime

from schema.parameters import solver_key
from schema.settings.worker import WorkerSettings
from worker.scheduling.circuit_breaker import BrokenSolver, is_open, wait_s

SETTINGS = WorkerSettings(retry_base_s=0.5, probe_s=3, retry_limit_s=60, breaker_failures=3)


def test_waits_double_before_it_opens_and_grow_from_probe_to_probe_up_to_the_limit() -> None:
    assert [wait_s(failures, SETTINGS) for failures in (1, 2, 3, 4, 5, 100)] == [0.5, 1, 3, 4.5, 6.75, 60]
    far_probes = SETTINGS.model_copy(update={"probe_s": 90.0})
    assert wait_s(100, far_probes) == 90


def test_a_solver_that_says_when_is_asked_then_but_not_for_ever() -> None:
    assert wait_s(1, SETTINGS, retry_after_s=20) == 20
    assert wait_s(1, SETTINGS, retry_after_s=1e6) == 60
    assert wait_s(4, SETTINGS, retry_after_s=0.1) == 4.5


def test_only_the_probe_may_ask_while_it_is_open() -> None:
    broken = BrokenSolver(3, "down", datetime(2026, 1, 1, tzinfo=UTC), probe=7)
    assert is_open(broken, 8, SETTINGS)
    assert not is_open(broken, 7, SETTINGS)
    assert not is_open(BrokenSolver(2, "down", broken.retry_at, None), 8, SETTINGS)
    assert not is_open(None, 8, SETTINGS)


def test_runs_that_chose_the_same_qpu_share_a_breaker() -> None:
    assert solver_key("dwave", {"qpu": "Advantage", "reads": 1}) == solver_key(
        "dwave", {"qpu": "Advantage", "reads": 2}
    )
    assert (
        solver_key("dwave", {})
        != solver_key("dwave", {"qpu": "Advantage"})
        != solver_key("emulator", {"qpu": "Advantage"})
    )
