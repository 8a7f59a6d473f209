"""The sampler with Ocean's interface, judged by dimod's own checks and by exact enumeration.

`dimod.testing.load_sampler_bqm_tests` does not apply: its BQMs have other shapes, which are refused here.
"""

from __future__ import annotations

from itertools import combinations

import dimod
import numpy as np
import pytest
from dimod.exceptions import BinaryQuadraticModelStructureError

from schema.errors import ParameterError
from tests.models import features_for, head, pooled
from worker.ocean.heads import as_network
from worker.ocean.models import model_of
from worker.ocean.sampler import AnnealqSampler
from worker.qubo.energy_model import EnergyModel


def bqm_of(model: EnergyModel, seed: int = 0) -> dimod.BinaryQuadraticModel:
    """A BQM of one image, its variables shuffled."""
    names = [f"x{k}" for k in np.random.default_rng(seed).permutation(model.units)]
    return model_of(model, model.linear(features_for(model, 1))[0], names)


@pytest.mark.parametrize("name", ["local", "exact"])
def test_it_is_a_sampler_for_dimod(name: str) -> None:
    sampler = AnnealqSampler(name)
    dimod.testing.assert_sampler_api(sampler)
    for vartype in (dimod.BINARY, dimod.SPIN):
        bqm = bqm_of(head(units=4, classes=3)).change_vartype(vartype, inplace=False)
        found = sampler.sample(bqm, num_reads=7, seed=3)
        dimod.testing.assert_response_energies(found, bqm)
        assert (found.vartype, len(found), set(found.variables)) == (vartype, 7, set(bqm.variables))
        again = sampler.sample(bqm, num_reads=7, seed=3)
        np.testing.assert_array_equal(again.record.sample, found.record.sample)
    h, J = bqm.linear, bqm.quadratic
    assert sampler.sample_ising(h, J, num_reads=3).vartype is dimod.SPIN
    qubo, _ = bqm.to_qubo()
    assert len(sampler.sample_qubo(qubo, num_reads=3)) == 3


@pytest.mark.parametrize("model", [head(units=5, classes=2), head(units=7, classes=4), pooled()], ids=str)
def test_it_finds_the_lowest_state_of_layers_in_any_order(model: EnergyModel) -> None:
    bqm = bqm_of(model, seed=5)
    if model.units <= 20:
        lowest = dimod.ExactSolver().sample(bqm).first.energy
        assert AnnealqSampler().sample(bqm, num_reads=200, seed=1).first.energy == pytest.approx(lowest)
    assert as_network(bqm).model.units == model.units
    classes = as_network(bqm).variables[-model.sizes[-1] :]
    assert as_network(bqm, classes).model.sizes[-1] == model.sizes[-1]


def test_exact_draws_have_the_boltzmann_distribution() -> None:
    bqm = bqm_of(head(units=3, classes=2))
    states = dimod.ExactSolver().sample(bqm)
    weights = np.exp(-1.5 * states.record.energy)
    expected = float(weights @ states.record.energy / weights.sum())
    found = AnnealqSampler("exact").sample(bqm, num_reads=10_000, beta=1.5, seed=0).record.energy
    assert found.mean() == pytest.approx(expected, abs=4 * found.std() / 100)


def test_other_shapes_are_refused_with_a_sampler_that_takes_them() -> None:
    sampler, bqm = AnnealqSampler(), bqm_of(head(units=4, classes=3))
    first, second = [name for name in bqm.variables if bqm.degree(name) == 3][:2]  # two visible units
    bqm.add_quadratic(first, second, 0.7)
    message = rf"'{first}' and '{second}'|'{second}' and '{first}'"
    with pytest.raises(BinaryQuadraticModelStructureError, match=message) as raised:
        sampler.sample(bqm)
    assert "SimulatedAnnealingSampler" in str(raised.value)
    two_triangles = {"ab": 1.0, "ac": 2.0, "bc": 3.0, "cd": 4.0, "de": 5.0, "df": 6.0, "ef": 7.0}
    tied = dimod.BinaryQuadraticModel({}, two_triangles, "SPIN")
    for other in (
        dimod.BinaryQuadraticModel("BINARY"),
        dimod.BinaryQuadraticModel({"a": 1}, {}, "SPIN"),
        tied,
    ):
        with pytest.raises(BinaryQuadraticModelStructureError, match="EmbeddingComposite"):
            sampler.sample(other)
    apart = bqm_of(head(units=4, classes=3))
    apart.add_quadratic("y", "z", 1.0)
    with pytest.raises(BinaryQuadraticModelStructureError, match=r"'y' and 'z' interact"):
        sampler.sample(apart)
    many = dimod.BinaryQuadraticModel({}, dict.fromkeys(combinations(range(17), 2), 1.0), "BINARY")
    with pytest.raises(BinaryQuadraticModelStructureError, match="take solver local"):
        AnnealqSampler("exact").sample(many)
    assert len(sampler.sample(many, num_reads=2)) == 2


def test_wrong_parameters_are_refused() -> None:
    bqm = bqm_of(head(units=4, classes=3))
    with pytest.raises(ParameterError, match="FixedEmbeddingComposite"):
        AnnealqSampler("dwave")
    for sampler, parameters in (
        (AnnealqSampler(), {"beta": 1.0}),
        (AnnealqSampler(), {"num_reads": 0}),
        (AnnealqSampler("exact"), {"num_sweeps": 5}),
        (AnnealqSampler("exact"), {"beta": -1.0}),
    ):
        with pytest.raises(ParameterError):
            sampler.sample(bqm, **parameters)
    with pytest.raises(BinaryQuadraticModelStructureError, match="class unit 'q' is not a variable"):
        AnnealqSampler(classes=["q", "x1"]).sample(bqm)
