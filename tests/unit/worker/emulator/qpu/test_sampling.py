"""Reads follow the stated temperature, scale and schedule."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from schema.errors import ParameterError
from worker.emulator.qpu.errors import Rejected
from worker.emulator.qpu.imperfections import ProgrammedProblem
from worker.emulator.qpu.parameters import ProblemParameters
from worker.emulator.qpu.problem import DecodedProblem, scale
from worker.emulator.qpu.sampling import Sampling, draw, random_spins, schedule

LIMITS: dict[str, Any] = {
    "h_range": [-4.0, 4.0],
    "extended_j_range": [-2.0, 1.0],
    "per_qubit_coupling_range": [-18.0, 15.0],
}


def _problem(
    h: list[float], couplings: dict[tuple[int, int], float], *, spins: bool = True
) -> DecodedProblem:
    edges = np.array(list(couplings), np.int32).reshape(-1, 2)
    return DecodedProblem(
        spins, np.arange(len(h), dtype=np.int32), np.array(h), edges, np.array(list(couplings.values()))
    )


def _draw(
    problem: DecodedProblem,
    beta: float,
    reads: int = 20_000,
    factor: float = 1.0,
    key: int = 1,
    seed: int = 0,
    **parameters: Any,
) -> Any:
    h, J = (values / factor for values in problem.ising())
    sampling = Sampling(seed=seed)
    programmed = ProgrammedProblem(h, np.zeros(len(h)), problem.edges, J, J)
    asked = ProblemParameters(reads=reads, **parameters)
    sweeps = schedule(sampling, beta, asked)
    return draw(programmed, problem.active, asked, sweeps, sampling.stream(key), lambda: False)


def _states(qubits: int) -> NDArray[np.int8]:
    return np.array(list(itertools.product([-1, 1], repeat=qubits)), np.int8)


@pytest.mark.parametrize("factor", [1.0, 4.0])
def test_reads_are_boltzmann_at_the_stated_beta_on_the_programmed_scale(factor: float) -> None:
    problem = _problem([0.3, -0.2, 0.1], {(0, 1): 0.4, (1, 2): -0.3, (0, 2): 0.2})
    spins = _draw(problem, 2.0, factor=factor)
    states = _states(3)
    weights = np.exp(-2.0 * problem.energies(states) / factor)
    counts = np.array([(spins == state).all(axis=1).sum() for state in states])
    # Four standard deviations of a frequency of 20,000 reads are 0.014 at most.
    np.testing.assert_allclose(counts / len(spins), weights / weights.sum(), atol=0.015)


# Chains of 7 and 5 qubits, the first one with a loop; with what pulls at them in different directions.
_CHAINED = {(i, i + 1): -1.0 for i in range(11) if i != 6} | {(0, 3): -1.0, (1, 8): 0.4, (5, 10): -0.3}


@pytest.mark.parametrize("beta", [0.8, 2.0, 4.5])
def test_reads_of_long_chains_are_boltzmann_at_the_stated_beta(beta: float) -> None:
    problem = _problem([0.25, -0.3, 0.1, 0.2, -0.35, 0.15, 0.05, -0.3, 0.3, 0.1, -0.2, 0.2], _CHAINED)
    spins, states = _draw(problem, beta), _states(12)
    energies = problem.energies(states)
    weights = np.exp(-beta * energies)
    expected = weights / weights.sum()
    counts = np.bincount((spins > 0) @ (1 << np.arange(12)[::-1]), minlength=len(states))
    common = expected * len(spins) > 5
    rest = np.append(expected[common], expected[~common].sum() + 1e-12) * len(spins)
    deviations = (np.append(counts[common], counts[~common].sum()) - rest) ** 2 / rest
    # Chi-square has the mean of its degrees of freedom; five standard deviations are allowed.
    assert deviations.sum() < len(rest) + 5 * np.sqrt(2 * len(rest))
    near = [
        float(np.average(energies, weights=np.exp(-b * (energies - energies.min()))))
        for b in (0.96 * beta, 1.04 * beta)
    ]
    assert near[1] < problem.energies(spins).mean() < near[0]


def _broken(beta: float, strength: float, **parameters: Any) -> float:
    """The share of reads that break a chain of eight whose halves are pulled apart."""
    pulls = [0.15] * 4 + [-0.15] * 4
    problem = _problem(pulls, {(i, i + 1): -strength for i in range(7)})
    spins = _draw(problem, beta, 4000, **parameters)
    return float((spins != spins[:, :1]).any(axis=1).mean())


def test_chains_break_less_with_their_strength_in_the_cold_and_in_long_anneals() -> None:
    strengths = [_broken(4.5, strength) for strength in (0.2, 0.5, 0.8, 1.2)]
    assert strengths == sorted(strengths, reverse=True)
    assert strengths[0] > 0.9
    assert strengths[-1] < 0.05
    betas = [_broken(beta, 1.0) for beta in (1.0, 2.0, 4.5, 8.4)]
    assert betas == sorted(betas, reverse=True)
    long, usual, short = (_broken(4.5, 1.0, anneal_us=time) for time in (200.0, 20.0, 1.0))
    assert short > 0.5
    assert abs(long - usual) < 0.03


def test_reads_depend_on_seed_and_problem_alone() -> None:
    problem = _problem([0.0] * 50, {})
    reads = [
        _draw(problem, 5.0, reads=5, key=key, seed=seed) for seed, key in ((0, 1), (0, 1), (1, 1), (0, 2))
    ]
    assert np.array_equal(reads[0], reads[1])
    assert not np.array_equal(reads[0], reads[2])
    assert not np.array_equal(reads[0], reads[3])


def test_random_spins_are_fair() -> None:
    spins = random_spins(1000, 100, np.random.default_rng(1))
    # Four standard deviations of a mean of 100,000 fair spins.
    assert abs(spins.mean()) < 4 / np.sqrt(100_000)
    assert set(np.unique(spins)) == {-1, 1}


def test_sampling_stops_when_it_is_told() -> None:
    problem, zeros, parameters = _problem([0.1] * 10, {}), np.zeros(10), ProblemParameters(reads=1000)
    programmed = ProgrammedProblem(problem.linear, zeros, problem.edges, problem.quadratic, problem.quadratic)
    sweeps = schedule(Sampling(), 5.0, parameters)
    spins = draw(programmed, problem.active, parameters, sweeps, np.random.default_rng(1), lambda: True)
    assert len(spins) < 1000


def test_sweeps_follow_the_schedule_of_the_anneal() -> None:
    def betas(**parameters: Any) -> list[float]:
        return [sweep.beta for sweep in schedule(Sampling(), 5.0, ProblemParameters(**parameters))]

    usual = betas()
    assert len(usual) == 16
    assert usual == sorted(usual)
    assert usual[0] < 0.5
    assert usual[-1] == pytest.approx(5.0)
    assert [len(betas(anneal_us=us)) for us in (0.005, 100.0, 500.0, 2000.0)] == [1, 80, 400, 400]
    paused = betas(anneal_us=20.0, schedule=((0.0, 0.0), (5.0, 0.3), (15.0, 0.3), (20.0, 1.0)))
    assert len(set(np.round(paused, 9))) < len(set(np.round(usual, 9)))
    reverse = betas(anneal_us=20.0, schedule=((0.0, 1.0), (10.0, 0.4), (20.0, 1.0)))
    assert reverse[7] == min(reverse) > usual[0]
    assert reverse[0] == reverse[-1] == pytest.approx(5.0)


@given(
    h=st.lists(st.floats(-100, 100), min_size=3, max_size=3),
    J=st.lists(st.floats(-100, 100), min_size=3, max_size=3),
)
def test_auto_scale_fills_the_ranges_and_never_leaves_them(h: list[float], J: list[float]) -> None:
    problem = _problem(h, {(0, 1): J[0], (1, 2): J[1], (0, 2): J[2]})
    factor = scale(problem, ProblemParameters(), LIMITS)
    values = np.array(h) / factor, np.array(J) / factor, problem.totals(np.array(J)) / factor
    fullness = [
        max((v / (limit[1] if v > 0 else limit[0]) for v in array), default=0.0)
        for array, limit in zip(values, LIMITS.values(), strict=True)
    ]
    assert max(fullness) <= 1 + 1e-9
    assert max(fullness) == pytest.approx(1) or not any(h + J)


def test_without_auto_scale_the_value_and_the_limit_are_named() -> None:
    cases = [
        (_problem([4.5], {}), "h must be -4 to 4 without auto_scale, not 4.5"),
        (_problem([0, 0], {(0, 1): 1.25}), "J must be -2 to 1 without auto_scale, not 1.25"),
        (
            _problem([0] * 12, {(0, i): -2.0 for i in range(1, 12)}),
            "sum of a qubit's J must be -18 to 15.* not -22",
        ),
        (_problem([0, 0], {(0, 1): 5.0}, spins=False), "J must be -2 to 1 without auto_scale, not 1.25"),
    ]
    for problem, message in cases:
        with pytest.raises(Rejected, match=message):
            scale(problem, ProblemParameters(auto_scale=False), LIMITS)
    assert scale(cases[1][0], ProblemParameters(), LIMITS) == 1.25


def test_the_couplings_of_each_group_of_a_qubit_have_a_range() -> None:
    limits = {**LIMITS, "per_group_coupling_range": [-3.0, 2.0]}
    del limits["per_qubit_coupling_range"]
    edges = np.array([[0, 1], [0, 2], [0, 3]], np.int32)

    def problem(groups: list[list[int]], J: float) -> DecodedProblem:
        qubits = np.arange(4, dtype=np.int32)
        return DecodedProblem(True, qubits, np.zeros(4), edges, np.full(3, J), np.array(groups, np.int32))

    together, apart = [[1, 0]] * 3, [[0, 0], [1, 0], [1, 1]]
    np.testing.assert_array_equal(problem(apart, 1.0).totals(np.ones(3)), [1, 2, 1, 0, 1, 0, 0, 1])
    unscaled = ProblemParameters(auto_scale=False)
    assert scale(problem(apart, 1.0), unscaled, limits) == 1.0
    with pytest.raises(Rejected, match=r"sum of J in a group of a qubit must be -3 to 2 .* not 3"):
        scale(problem(together, 1.0), unscaled, limits)
    assert scale(problem(together, 1.0), ProblemParameters(), limits) == 1.5
    assert scale(problem(together, -2.0), ProblemParameters(), limits) == 2.0


def test_reads_follow_the_gain_of_h_at_the_end_of_the_anneal() -> None:
    def mean(*gain: tuple[float, float]) -> float:
        return float(_draw(_problem([0.5], {}), 3.0, 2000, gain=gain).mean())

    assert mean((0, 1), (20, 1)) == pytest.approx(mean())
    assert mean((0, 1), (10, 1), (10.1, -1), (20, -1)) > 0.8
    assert abs(mean((0, 1), (18, 0), (20, 0))) < 0.1


def test_flux_biases_are_added_to_the_field_of_their_qubit() -> None:
    biases = np.zeros(5)
    biases[1] = 4e-4  # an h of about -0.95
    means = _draw(_problem([0.0, 0.0, 1.0], {}), 3.0, 2000, flux_biases=biases).mean(axis=0)
    assert abs(means[0]) < 0.1
    assert means[1] > 0.9
    assert means[2] < -0.9


@given(st.lists(st.floats(-10, 10), min_size=6, max_size=6))
def test_a_qubo_and_its_ising_form_differ_by_a_constant(values: list[float]) -> None:
    qubo = _problem(values[:3], {(0, 1): values[3], (1, 2): values[4], (0, 2): values[5]}, spins=False)
    h, J = qubo.ising()
    ising = DecodedProblem(True, qubo.active, h, qubo.edges, J)
    states = np.array(list(itertools.product([-1, 1], repeat=3)), np.int8)
    difference = qubo.energies(states) - ising.energies(states)
    np.testing.assert_allclose(difference, difference[0], atol=1e-9)


def test_energies_of_many_couplers_are_exact() -> None:
    random = np.random.default_rng(5)
    pairs = list(itertools.combinations(range(70), 2))
    problem = _problem(
        random.normal(size=70).tolist(), dict(zip(pairs, random.normal(size=len(pairs)), strict=True))
    )
    spins = random_spins(9, 70, random)
    dense = np.zeros((70, 70))
    dense[tuple(np.array(pairs).T)] = problem.quadratic
    direct = [float(state @ dense @ state + problem.linear @ state) for state in spins.astype(float)]
    np.testing.assert_allclose(problem.energies(spins), direct)


@pytest.mark.parametrize(
    "wrong",
    [{"mode": "best"}, {"beta": 0}, {"beta": float("nan")}, {"sweeps": 0}, {"seed": -1}],
)
def test_wrong_sampling_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ParameterError):
        Sampling(**wrong)
