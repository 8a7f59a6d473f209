"""QPU time by D-Wave's model, its limit, and other times in proportion."""

from __future__ import annotations

import pytest

from worker.emulator.qpu.parameters import ProblemParameters
from worker.emulator.qpu.presets import CHIPS
from worker.emulator.qpu.timing import ADVANTAGE, ADVANTAGE2


@pytest.mark.parametrize(
    ("parameters", "duration_us"),
    [
        # (anneal + pause + readout of 173 us) x reads + pause after programming
        (ProblemParameters(), 20 + 173 + 1000),
        (ProblemParameters(reads=5176), (20 + 173) * 5176 + 1000),
        (
            ProblemParameters(
                reads=10, anneal_us=100, readout_thermalization_us=7, programming_thermalization_us=40
            ),
            (100 + 7 + 173) * 10 + 40,
        ),
        (ProblemParameters(reduce_intersample_correlation=True), 20 + 595 + 173 + 1000),
    ],
)
def test_the_limit_concerns_the_times_that_users_set(
    parameters: ProblemParameters, duration_us: float
) -> None:
    assert ADVANTAGE.duration_us(5623, parameters) == pytest.approx(duration_us)
    assert ADVANTAGE.of(5623, parameters).access > duration_us


def test_an_advantage2_pauses_no_longer_against_correlations() -> None:
    times = [
        ADVANTAGE2.of(4800, ProblemParameters(reduce_intersample_correlation=flag)) for flag in (True, False)
    ]
    assert times[0] == times[1]


def test_other_times_are_in_proportion() -> None:
    timing = ADVANTAGE.of(100, ProblemParameters(reads=10))
    assert timing.scaled(timing.access) is timing
    doubled = timing.scaled(2 * timing.access)
    assert doubled.access == 2 * timing.access
    assert doubled.programming + doubled.sampling == pytest.approx(doubled.access)
    assert doubled.anneal_per_sample == timing.anneal_per_sample


@pytest.mark.parametrize(
    ("name", "qubits", "readout_us", "programming_us"),
    [
        ("advantage-system6", 5612, 173, 14_200),
        ("advantage-system4", 5627, 235, 14_100),
        ("advantage2-system1", 4577, 101, 33_600),
        ("advantage2-system2", 4514, 95, 24_500),
        ("advantage2-system4", 1202, 45, 8_000),
    ],
)
def test_chips_have_the_documented_times(
    name: str, qubits: int, readout_us: float, programming_us: float
) -> None:
    timing = CHIPS[name].timing.of(qubits, ProblemParameters(programming_thermalization_us=1))
    assert timing.readout_per_sample == pytest.approx(readout_us, rel=1e-3)
    assert timing.programming == programming_us + 1
