"""The restart policy: delays, and when a child is no longer restarted."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from producer.stack.supervisor import RestartPolicy

ages = st.lists(st.floats(0, 1000, allow_nan=False), max_size=20)


def delays(policy: RestartPolicy, times: list[float]) -> list[float | None]:
    """The delay after each death, as they come."""
    return [policy.delay_s(times[: count + 1], now) for count, now in enumerate(times)]


def test_the_delay_doubles_until_it_is_a_loop() -> None:
    assert delays(RestartPolicy(), [0, 1, 2, 4, 8, 16]) == [0.5, 1.0, 2.0, 4.0, 8.0, None]


def test_the_delay_has_a_limit() -> None:
    assert delays(RestartPolicy(deaths=8), [0.0] * 8)[4:] == [8.0, 10.0, 10.0, 10.0]


def test_old_deaths_are_forgiven() -> None:
    assert delays(RestartPolicy(), [61.0 * count for count in range(50)]) == [0.5] * 50


@given(ages, st.floats(0, 1000))
def test_waiting_longer_never_makes_it_worse(times: list[float], more: float) -> None:
    now = max(times, default=0.0)
    soon, late = RestartPolicy().delay_s(times, now), RestartPolicy().delay_s(times, now + more)
    assert late is not None or soon is None
    assert soon is None or (late is not None and late <= soon)
