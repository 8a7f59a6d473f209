"""Images that a budget suffices for, against the sum of all problems."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schema.errors import ParameterError
from worker.qpus.budget import SettingCost, affordable_images

SETTINGS = st.lists(
    st.builds(SettingCost, st.integers(1, 300), st.floats(1_000, 40_000)), min_size=1, max_size=12
)


@given(SETTINGS, st.integers(1, 3_000_000), st.integers(1, 5_000))
def test_it_is_the_most_that_the_budget_covers(
    settings: list[SettingCost], budget_us: int, available: int
) -> None:
    def price(images: int) -> float:
        return sum(-(-images // each.tiles) * each.problem_us for each in settings)

    try:
        images = affordable_images(settings, budget_us, available)
    except ParameterError:
        assert price(min(10, available)) > 0.9 * budget_us
        return
    assert price(images) <= 0.9 * budget_us
    assert images == available or price(images + 1) > 0.9 * budget_us


def test_too_small_a_budget_names_one_that_suffices() -> None:
    settings = [SettingCost(5, 20_000.0)] * 3
    with pytest.raises(
        ParameterError, match=r"0\.1 s suffices for 5 images .* 3 settings: raise it to 0\.133 s"
    ):
        affordable_images(settings, 100_000, 500)
    assert affordable_images(settings, 134_000, 500) == 10
