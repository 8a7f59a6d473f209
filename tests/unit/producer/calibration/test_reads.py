"""The choice of reads for a run: never dearer than the best fixed number by more than 3 %."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producer.calibration.reads import choose_reads, usual_reads
from producer.forecasts.offers import offers_of
from producer.progress.rounds_to_come import expected_shares
from schema.parameters import Parameters, Visible
from schema.tables import Calibration


def plans(**changes: Any) -> dict[str, Any]:
    """A calibration in which 100 reads of 3 % of the images are worth 100 reads of all."""
    listed = [
        {"reads": 20, "rounds": [], "shares": [], "right": 960, "eligible": False},
        {"reads": 20, "rounds": [[80, 1.5]], "shares": [0.03], "right": 990, "eligible": True},
        {"reads": 50, "rounds": [], "shares": [], "right": 985, "eligible": False},
        {"reads": 100, "rounds": [], "shares": [], "right": 990, "eligible": True},
    ]
    prices = {"tiles": 35, "fixed_us": 15_200.0, "read_us": 213.0, "images": 1_000}
    return {**prices, "listed": listed, "chosen": 1, "fixed": 3, **changes}


def cost(made: dict[str, Any], images: int, tiles: int, reads: int, rounds: list[tuple[int, int]]) -> float:
    """QPU time of a run that reads that many images in each of its ``rounds`` of reads."""
    problems = [(reads, images), *rounds]
    return sum(
        math.ceil(count / tiles) * (made["fixed_us"] + number * made["read_us"]) for number, count in problems
    )


def test_a_large_run_reads_uncertain_images_again() -> None:
    chosen = choose_reads(plans(), 10_000, None, "calibration 7")
    assert chosen.reads == 20
    (later,) = chosen.rounds
    assert later[:2] == (80, 1.5)
    assert later.share == pytest.approx(4 * 9 * 35 / 10_000)  # 9 problems are expected
    assert "then 80 more of images with an energy gap below 1.5 (about 3.00% of all" in chosen.reason
    assert chosen.reason.endswith("by calibration 7")
    parameters = Parameters(**chosen.parameters())
    assert expected_shares(plans(), parameters.to_dict()) == (0.03,)
    assert expected_shares(plans(), Parameters(reads=21).to_dict()) is None
    assert expected_shares(None, parameters.to_dict()) is None


def test_a_run_of_one_problem_does_without_a_second_round() -> None:
    chosen = choose_reads(plans(), 30, None, "calibration 7")
    assert (chosen.reads, chosen.rounds) == (100, ())
    assert "100 reads, the best fixed number (99.00%, 1,217 us an image)" in chosen.reason
    assert "a second round does not pay in a run of this size" in chosen.reason
    assert "does not pay" not in choose_reads(plans(chosen=3), 30, None, "calibration 7").reason


def test_fewer_images_in_a_problem_make_runs_larger() -> None:
    assert choose_reads(plans(), 30, 2, "calibration 7").rounds
    assert choose_reads(plans(), 30, 1_000, "calibration 7").rounds == ()


def test_without_charges_reads_alone_count() -> None:
    local = plans(tiles=1, fixed_us=0.0, read_us=20.0)
    chosen = choose_reads(local, 40, None, "calibration 7", charged=False)
    assert chosen.reads == 20
    assert "sweeps an image" in chosen.reason


@pytest.mark.parametrize("visible", Visible)
def test_without_a_calibration_the_reason_says_how_to_calibrate(visible: Visible) -> None:
    chosen = usual_reads(visible, "annealq networks calibrate mine --solver emulator --data DATA")
    assert f"usual for {visible} visible units, not calibrated" in chosen.reason
    assert "`annealq networks calibrate mine --solver emulator --data DATA`" in chosen.reason
    Parameters(**chosen.parameters())


_PLANS = st.builds(
    lambda reads, rounds, eligible: {
        "reads": reads,
        "rounds": [[number, gap] for number, gap, _ in rounds],
        "shares": [share for *_, share in rounds],
        "right": 900 + reads // 10,
        "eligible": eligible,
    },
    st.integers(1, 500),
    st.lists(st.tuples(st.integers(1, 500), st.floats(0, 9), st.floats(0, 1)), max_size=2),
    st.booleans(),
)


@given(
    st.lists(_PLANS, max_size=8),
    st.integers(1, 500),
    st.integers(1, 30_000),
    st.integers(1, 400),
    st.floats(0, 30_000),
    st.floats(0.1, 500),
)
def test_no_run_costs_over_3_percent_more_than_the_best_fixed_number(
    others: list[dict[str, Any]], fixed: int, images: int, tiles: int, fixed_us: float, read_us: float
) -> None:
    listed = [*others, {"reads": fixed, "rounds": [], "shares": [], "right": 950, "eligible": True}]
    made = plans(listed=listed, chosen=0, fixed=len(others), tiles=tiles, fixed_us=fixed_us, read_us=read_us)
    chosen = choose_reads(made, images, None, "calibration 7")
    # All images are uncertain: each round reads as many as its share lets it, at least one.
    rounds = [(each.reads, max(math.floor(each.share * images + 1e-9), 1)) for each in chosen.rounds]
    limit = 1.03 * cost(made, images, tiles, fixed, []) * (1 + 1e-9)
    assert cost(made, images, tiles, chosen.reads, rounds) <= limit
    # Targets have the same limit: what they promise within a budget is the most that such a run costs.
    row = Calibration(id=1, parameters={"visible": "folded"}, images=1_000, measured={
        "choices": [], "candidates": [], "right": [], "plans": made,
    })  # fmt: skip
    for offer in offers_of(row, "one", images):
        assert offer.most_us(images) <= limit
        later = [
            (each.reads, max(math.floor(each.share * images + 1e-9), 1)) for each in offer.parameters.rounds
        ]
        paid = cost(made, images, tiles, offer.parameters.reads, later)
        assert paid <= max(offer.most_us(images), offer.qpu_us(images)) * (1 + 1e-9)
