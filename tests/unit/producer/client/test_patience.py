"""How long and how often the client tries."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producer.client.patience import Patience


class Time:
    """A clock that only moves when somebody waits."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def pauses(limit_s: float, seed: int, retry_after_s: float | None = None) -> list[float]:
    """Wait as the client does until it gives up; requests themselves take no time."""
    clock, found = Time(), list[float]()
    patience = Patience(limit_s, clock=clock, jitter=random.Random(seed).random)
    while (pause_s := patience.next_pause_s(retry_after_s)) is not None:
        found.append(pause_s)
        clock.now += pause_s
    return found


@given(limit_s=st.floats(0.1, 3600), seed=st.integers(0, 1000))
def test_the_whole_time_is_used_and_no_pause_is_long(limit_s: float, seed: int) -> None:
    found = pauses(limit_s, seed)
    assert sum(found) == pytest.approx(limit_s)
    assert max(found) <= 5
    assert len(found) < 8 + limit_s / 2.5


def test_clients_do_not_return_at_one_moment() -> None:
    firsts = {tuple(pauses(60, seed)[:5]) for seed in range(20)}
    assert len(firsts) == 20


@given(seed=st.integers(0, 100), retry_after_s=st.floats(0, 30))
def test_the_server_is_given_the_time_that_it_asks_for(seed: int, retry_after_s: float) -> None:
    found = pauses(100, seed, retry_after_s)
    assert min(found) >= retry_after_s
    assert max(found) <= max(retry_after_s, 5) + 5


def test_who_must_wait_longer_than_patience_gives_up_at_once() -> None:
    assert pauses(300, 0, retry_after_s=3600) == []
    assert pauses(0, 0) == []


def test_an_answer_ends_the_count() -> None:
    clock = Time()
    patience = Patience(10, clock=clock, jitter=lambda: 1.0)
    assert patience.next_pause_s() == 0.2
    clock.now += 9
    assert patience.left_s() == 1
    patience.renew()
    assert (patience.left_s(), patience.next_pause_s()) == (10, 0.2)
