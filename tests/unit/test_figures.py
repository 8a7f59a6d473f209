"""Regressions of ratios, which are neither noise nor a slower machine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.benchmarks import figures
from tests.benchmarks.figures import Figure

ENCODING = Figure("encoding", 0.04, "ms", 0.1, at_least=False, rival=12.0, spread=(0.038, 0.05))
COPIES = Figure("copies", 35.0, "copies", 40.0, rival=28.0)


@pytest.mark.parametrize(
    ("now", "regresses"),
    [
        (replace(COPIES, ours=32.0), False),
        (replace(COPIES, ours=31.0), True),
        # a machine of half the speed
        (replace(ENCODING, ours=0.08, rival=24.0, spread=(0.076, 0.1)), False),
        (replace(ENCODING, ours=0.08, spread=(0.07, 0.1)), True),
        # the best of its values is as good as ever
        (replace(ENCODING, ours=0.08, spread=(0.041, 0.1)), False),
        (replace(ENCODING, rival=None), False),
        (replace(ENCODING, ours=0.08, measure="another"), False),
    ],
)
def test_a_ratio_that_is_a_tenth_worse_is_a_regression(now: Figure, regresses: bool) -> None:
    found = figures.regressions([ENCODING, COPIES], [now])

    assert [one.measure for one in found] == ([now.measure] if regresses else [])


def test_a_regression_names_both_ratios() -> None:
    (found,) = figures.regressions([COPIES], [replace(COPIES, ours=28.0)])

    assert str(found) == "copies: 1 x, 20% less than 1.25 x"


def test_figures_come_back_from_their_file(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"

    assert figures.read(path) == []
    figures.write(path, figures.merged([replace(COPIES, ours=1.0)], [ENCODING, COPIES]))

    assert figures.read(path) == [COPIES, ENCODING]


@pytest.mark.parametrize(
    ("figure", "met"), [(ENCODING, True), (COPIES, False), (replace(COPIES, goal=None), None)]
)
def test_goals_are_met_from_either_side(figure: Figure, met: bool | None) -> None:
    assert figure.met is met
