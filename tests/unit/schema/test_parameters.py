"""What a user may choose about a run."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schema.errors import ParameterError
from schema.parameters import MAX_READS, Parameters, Round, Rule, Solver, Visible, solver

parameters = st.builds(
    Parameters,
    reads=st.integers(1, MAX_READS),
    seed=st.integers(0, 2**63 - 1),
    visible=st.sampled_from(Visible),
    rule=st.sampled_from(Rule),
    fraction=st.floats(0, 1, exclude_min=True),
    sweeps=st.none() | st.integers(3, 1000),
    lam=st.none() | st.floats(0, 100),
    beta=st.floats(0, 100, exclude_min=True),
    noise=st.floats(0, 1),
    rounds=st.none()
    | st.lists(
        st.tuples(st.integers(1, MAX_READS), st.floats(0, 100), st.floats(0, 1, exclude_min=True)), max_size=4
    ),
)


@given(parameters)
def test_round_trip(chosen: Parameters) -> None:
    assert Parameters.from_dict(chosen.to_dict()) == chosen


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("reads", 0),
        ("reads", -1),
        ("reads", MAX_READS + 1),
        ("reads", 1.5),
        ("reads", True),
        ("seed", -1),
        ("fraction", 0.0),
        ("fraction", 1.1),
        ("fraction", math.nan),
        ("sweeps", 0),
        ("lam", -1.0),
        ("lam", math.inf),
        ("beta", 0.0),
        ("beta", math.inf),
        ("noise", -0.01),
        ("noise", 1.01),
        ("noise", math.nan),
        ("rule", "majority"),
        ("visible", "hidden"),
    ],
)
def test_what_is_out_of_range_is_named(name: str, value: object) -> None:
    with pytest.raises(ParameterError, match=name):
        Parameters(**{name: value})  # type: ignore[arg-type]


def test_runs_that_were_stored_before_beta_was_a_choice_are_read() -> None:
    stored = Parameters(reads=7).to_dict()
    del stored["beta"]
    assert Parameters.from_dict(stored) == Parameters(reads=7, beta=1.0)


def test_rounds_are_lists_of_three_numbers_and_not_stored_unless_chosen() -> None:
    assert "rounds" not in Parameters().to_dict()
    assert Parameters(rounds=[]) == Parameters()  # type: ignore[arg-type]
    chosen = Parameters(rounds=[[50, 1, 0.25], (9, 0, 1)])  # type: ignore[list-item]
    assert chosen.rounds == (Round(50, 1.0, 0.25), Round(9, 0.0, 1.0))
    assert json.loads(json.dumps(chosen.to_dict()))["rounds"] == [[50, 1.0, 0.25], [9, 0.0, 1.0]]
    chosen.check_for(Solver.LOCAL)


@pytest.mark.parametrize(
    ("rounds", "why"),
    [
        (7, r"rounds must be a list of rounds \[reads, gap, share\].*, not 7"),
        ([7], "round 2 is 7; rounds must be a list"),
        ([[7, 1]], r"round 2 is \[7, 1\]; rounds must be a list"),
        ([[5, 1, 0.5], [0, 1, 0.5]], "round 3 has 0 reads; they must be a whole number from 1 to 10,000"),
        ([[5.0, 1, 0.5]], "round 2 has 5.0 reads"),
        ([[5, -1, 0.5]], "round 2 has the gap -1; it must be a finite number at least 0"),
        ([[5, math.inf, 0.5]], "round 2 has the gap Infinity"),
        ([[5, 1, 0]], "round 2 has the share 0; it must be above 0 and at most 1"),
        ([[5, 1, True]], "round 2 has the share true"),
        ([[5, 1, 1]] * 5, "5 further rounds are too many: choose at most 4"),
    ],
)
def test_what_are_no_rounds_is_said(rounds: object, why: str) -> None:
    with pytest.raises(ParameterError, match=why):
        Parameters(rounds=rounds)  # type: ignore[arg-type]


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ParameterError, match=r"'readz'.*reads"):
        Parameters.from_dict({"readz": 1})
    with pytest.raises(ParameterError, match=r"'quantum'.*local, exact"):
        solver("quantum")


@pytest.mark.parametrize(
    ("on", "chosen", "why"),
    [
        (Solver.LOCAL, {"tiles": 4}, "solver local has no tiles: .*solver emulator or dwave"),
        (Solver.LOCAL, {"qpu": "a"}, "has no qpu"),
        (Solver.EXACT, {"unembedding": "discard"}, "solver exact has no unembedding"),
        (Solver.EXACT, {"sweeps": 4}, "solver exact has no sweeps: .*solver local$"),
        (Solver.EXACT, {"annealing_time_us": 20.0}, "has no annealing time: leave"),
        (Solver.DWAVE, {"sweeps": 4}, "solver dwave has no sweeps"),
        (Solver.EMULATOR, {"noise": 0.02}, "solver emulator has no noise: .*solver local or exact$"),
    ],
)
def test_what_a_solver_does_not_have_is_refused(on: Solver, chosen: dict[str, Any], why: str) -> None:
    with pytest.raises(ParameterError, match=why):
        Parameters.from_dict(chosen).check_for(on)


def test_what_a_solver_has_is_taken() -> None:
    for on in Solver:
        Parameters(reads=7, lam=2.0, visible="folded", rule="boltzmann").check_for(on)
    Parameters(sweeps=4, noise=0.1).check_for(Solver.LOCAL)
    Parameters(noise=0.1).check_for(Solver.EXACT)
    on_qubits = Parameters(qpu="a", tiles=2, chain_strength=1.0, scale=0.5, annealing_time_us=5.0)
    for on in (Solver.EMULATOR, Solver.DWAVE):
        on_qubits.check_for(on)
