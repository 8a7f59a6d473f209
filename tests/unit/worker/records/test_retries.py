"""Retry or discard work that failed."""

from __future__ import annotations

import random

import pytest

from schema.errors import (
    Corrupt,
    DatabaseUnavailable,
    Deferred,
    NetworkError,
    NoAccess,
    Offline,
    ProblemFailed,
    Refused,
    Unavailable,
    Uncertain,
)
from schema.settings.worker import WorkerSettings
from worker.records.retries import Discard, Retry, after_silence, decide

SETTINGS = WorkerSettings(max_attempts=6, retry_base_s=2, retry_limit_s=20)


@pytest.mark.parametrize("error", [Refused("too large"), Corrupt("damaged"), NetworkError("no such layer")])
def test_what_cannot_get_better_is_given_up_at_once(error: Exception) -> None:
    assert decide(error, 1, SETTINGS, random.Random(0)) == Discard(str(error))


@pytest.mark.parametrize(
    "error", [Unavailable("offline"), DatabaseUnavailable("restarts"), MemoryError("full"), OSError("reset")]
)
def test_what_may_get_better_is_tried_again_with_growing_waits(error: Exception) -> None:
    jitter = random.Random(0)
    waits = []
    for attempt in range(1, 6):
        decision = decide(error, attempt, SETTINGS, jitter)
        assert isinstance(decision, Retry)
        waits.append(decision.seconds)
    for wait, longest in zip(waits, (2, 4, 8, 16, 20), strict=True):
        assert longest / 2 <= wait <= longest
    assert isinstance(decide(error, 6, SETTINGS, jitter), Discard)


@pytest.mark.parametrize(("wait_s", "expected"), [(None, SETTINGS.quarantine_s), (12.5, 12.5)])
def test_a_problem_that_may_have_arrived_is_looked_for_when_that_can_be_told(
    wait_s: float | None, expected: float
) -> None:
    decision = decide(Uncertain("reset", wait_s), 1, SETTINGS, random.Random(0))
    assert isinstance(decision, Retry)
    assert decision.seconds == expected


def test_two_workers_do_not_come_back_at_the_same_time() -> None:
    first, second = (decide(Unavailable(""), 3, SETTINGS, random.Random(seed)) for seed in (1, 2))
    assert isinstance(first, Retry)
    assert isinstance(second, Retry)
    assert first.seconds != second.seconds


def test_an_offline_solver_is_waited_for_unless_somebody_waits_too() -> None:
    error, last = Offline("under maintenance"), SETTINGS.max_attempts
    decision = decide(error, last, SETTINGS, random.Random(0))
    assert isinstance(decision, Retry)
    assert not decision.counts
    first = decide(error, 1, SETTINGS, random.Random(0), patient=False)
    assert isinstance(first, Retry)
    assert first.counts
    given_up = decide(error, last, SETTINGS, random.Random(0), patient=False)
    assert given_up == Discard("under maintenance")


@pytest.mark.parametrize(
    "error",
    [
        NoAccess("the token has expired"),
        ProblemFailed("Internal SAPI Error"),
        Uncertain("gateway"),
        Deferred("the queue is full"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_is_not_the_fault_of_a_batch_never_uses_up_its_attempts(error: Exception) -> None:
    for attempt in (1, SETTINGS.max_attempts, 1000):
        decision = decide(error, attempt, SETTINGS, random.Random(0))
        assert isinstance(decision, Retry)
        assert not decision.counts


def test_who_waits_for_a_dry_run_learns_at_once_that_the_token_is_refused() -> None:
    error = NoAccess("the token has expired")
    assert isinstance(decide(error, 1, SETTINGS, random.Random(0), patient=False), Discard)


def test_a_failed_problem_is_sent_again_after_growing_waits() -> None:
    waits = []
    for times in (1, 2, 3):
        error = ProblemFailed("Internal SAPI Error")
        error.times = times
        decision = decide(error, 1, SETTINGS, random.Random(0))
        assert isinstance(decision, Retry)
        waits.append(decision.seconds)
    assert waits == [8, 20, 20]


def test_a_worker_that_is_killed_after_progress_uses_up_no_attempt() -> None:
    last = SETTINGS.max_attempts
    assert isinstance(after_silence(last, SETTINGS), Discard)
    decision = after_silence(last, SETTINGS, progressed=True)
    assert isinstance(decision, Retry)
    assert not decision.counts
