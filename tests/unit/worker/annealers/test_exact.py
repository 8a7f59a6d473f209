"""Exact draws against full enumeration, exact minima against dimod's exact solver."""

from __future__ import annotations

import dimod
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schema.errors import ParameterError, Refused
from tests.models import all_states, conv358, dense, features_for, head, pooled, pools, small_models
from tests.oracles import ground_state
from worker.annealers.exact import ExactAnnealer, default_beta
from worker.qubo.energy_model import Coupling, EnergyModel, FloatArray, Visible, build_model

IMAGES = 30
READS = 10_000


def chain() -> EnergyModel:
    """Overlapping pools: v1 and v3 have one pool each, v2 joins both, and both meet the classes."""
    mask = np.array([[True, False], [True, True], [False, True]])
    rng = np.random.default_rng(7)
    return build_model([Coupling(np.where(mask, 1.5, 0.0), mask), dense(rng, 2, 3)], None, 1.0)


def long_chain() -> EnergyModel:
    """Three overlapping pools: messages about the classes pass through units that no class is joined to."""
    mask = np.array([[True, True, False], [False, True, True]])
    rng = np.random.default_rng(10)
    return build_model([Coupling(np.where(mask, 1.5, 0.0), mask), dense(rng, 3, 2)], None, 1.0)


def pairs() -> EnergyModel:
    """Pools of one unit: visible and pooling unit are leaves of each other."""
    return build_model([pools(3, 1), dense(np.random.default_rng(8), 3, 2)], None, 1.0)


def tower() -> EnergyModel:
    """Pools of pools."""
    return build_model([pools(4, 1), pools(2, 2), dense(np.random.default_rng(9), 2, 2)], None, 1.0)


def small_head(visible: Visible = "sampled") -> EnergyModel:
    return head(visible, units=5, classes=3, lam=1.0)


def small_pooled(visible: Visible = "sampled") -> EnergyModel:
    return pooled(visible, count=2, size=2, classes=3)


def boltzmann(model: EnergyModel, linear: FloatArray, beta: float) -> FloatArray:
    """Return probabilities (2^n,) by summing over every state."""
    energies = model.energies(linear, all_states(model.units)[np.newaxis])[0]
    weights = np.exp(-beta * (energies - energies.min()))
    return weights / weights.sum()


def chi_square(model: EnergyModel, linear: FloatArray, beta: float) -> tuple[float, int]:
    """Return Pearson's statistic of 300,000 draws and its degrees of freedom; rare states count together."""
    samples = ExactAnnealer(beta).sample(model, np.repeat(linear, IMAGES, axis=0), READS, seed=11)
    codes = samples.bits.reshape(-1, model.units) @ (1 << np.arange(model.units))
    observed = np.bincount(codes, minlength=1 << model.units)
    expected = IMAGES * READS * boltzmann(model, linear, beta)
    rare = expected < 20.0
    observed = np.append(observed[~rare], observed[rare].sum())
    expected = np.append(expected[~rare], expected[rare].sum())
    used = expected > 0.0
    return float((((observed - expected) ** 2)[used] / expected[used]).sum()), int(used.sum()) - 1


@pytest.mark.parametrize("beta", [0.3, 2.0])
@pytest.mark.parametrize(
    "model",
    [
        small_head(),
        small_head("folded"),
        small_pooled(),
        small_pooled("folded"),
        chain(),
        long_chain(),
        pairs(),
        tower(),
    ],
    ids=["head", "head, folded", "pooled", "pooled, folded", "chain", "long chain", "pairs", "tower"],
)
def test_draws_follow_the_boltzmann_distribution(model: EnergyModel, beta: float) -> None:
    statistic, freedom = chi_square(model, model.linear(features_for(model, 1)), beta)
    # Mean and standard deviation of a chi-square variable are k and sqrt(2 k).
    assert statistic < freedom + 4.0 * np.sqrt(2.0 * freedom) + 4.0


def test_the_check_above_would_notice_a_wrong_temperature() -> None:
    model = small_pooled()
    linear = model.linear(features_for(model, 1))
    samples = ExactAnnealer(2.1).sample(model, np.repeat(linear, IMAGES, axis=0), READS, seed=11)
    shift = (
        samples.energies.mean()
        - boltzmann(model, linear, 2.0) @ model.energies(linear, all_states(model.units)[np.newaxis])[0]
    )
    assert abs(shift) > 5.0 * samples.energies.std() / np.sqrt(samples.energies.size)


def test_class_marginals_of_a_folded_head_are_those_of_its_class_states() -> None:
    model = small_head("folded")
    linear = model.linear(features_for(model, 1))
    bits = ExactAnnealer(1.0).sample(model, np.repeat(linear, IMAGES, axis=0), READS, seed=1).bits
    expected = boltzmann(model, linear, 1.0) @ all_states(3)
    np.testing.assert_allclose(bits.reshape(-1, 3).mean(axis=0), expected, atol=0.005)


def test_one_hot_class_weights_of_a_head_are_the_training_objectives() -> None:
    """-beta F_k = beta lam + sum_i softplus(beta (f_i + W_ik)), Larochelle and Bengio 2008."""
    model, beta = head(lam=3.0), 1.5
    features = features_for(model, 1)
    weights = -model.quadratic[:40, 40:]
    logits = np.logaddexp(0.0, beta * (features[0][:, np.newaxis] + weights)).sum(axis=0)
    expected = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    classes = ExactAnnealer(beta).sample(
        model, np.repeat(model.linear(features), IMAGES, axis=0), READS, seed=2
    ).bits[..., model.class_units]  # fmt: skip
    one_hot = classes[classes.sum(axis=2) == 1]
    assert len(one_hot) > 100_000
    np.testing.assert_allclose(one_hot.mean(axis=0), expected, atol=0.006)


def test_cold_draws_are_the_minimum() -> None:
    model = pooled()
    linear = model.linear(features_for(model, 10))
    bits, _ = ground_state(model, linear)
    samples = ExactAnnealer(1e6).sample(model, linear, 20, seed=3)
    np.testing.assert_array_equal(samples.bits, np.repeat(bits[:, np.newaxis], 20, axis=1))


def test_hot_draws_are_coin_flips() -> None:
    model = head()
    bits = ExactAnnealer(1e-9).sample(model, model.linear(features_for(model, 10)), READS, seed=4).bits
    np.testing.assert_allclose(bits.mean(axis=(0, 1)), 0.5, atol=0.01)


@pytest.mark.parametrize("factor", [1.0, 100.0, 1e6])
def test_large_numbers_do_not_overflow(factor: float) -> None:
    model = head(units=7, classes=4)
    loud = EnergyModel(model.sizes, factor * model.bias, model.edges, factor * model.couplings)
    linear = loud.linear(factor * features_for(model, 5))
    samples = ExactAnnealer(1.0).sample(loud, linear, 200, seed=5)
    gaps = samples.energies - ground_state(loud, linear)[1][:, np.newaxis]
    assert gaps.min() >= -1e-9 * factor
    if factor > 1.0:
        assert gaps.max() < 50.0


def exact_minimum(matrix: np.ndarray) -> float:
    units = range(len(matrix))
    qubo = {(i, j): matrix[i, j] for i in units for j in units if i <= j}
    return float(dimod.ExactSolver().sample_qubo(qubo).first.energy)


@settings(deadline=None, max_examples=60)
@given(small_models(), st.integers(0, 2**32))
def test_the_minimum_is_exact_or_refused(model: EnergyModel, seed: int) -> None:
    features = features_for(model, 2, seed)
    if has_cycle(model):
        with pytest.raises(Refused, match="cycles"):
            ExactAnnealer().check(model)
        return
    bits, energies = ground_state(model, model.linear(features))
    drawn = ExactAnnealer(1e9).sample(model, model.linear(features), 5, seed).energies.min(axis=1)
    np.testing.assert_allclose(drawn, energies, rtol=0, atol=1e-8)
    for image in range(2):
        matrix = model.q_matrix(features[image])
        state = bits[image].astype(float)
        assert state @ matrix @ state == pytest.approx(energies[image], abs=1e-9)
        assert energies[image] == pytest.approx(exact_minimum(matrix), abs=1e-9)


def has_cycle(model: EnergyModel) -> bool:
    """Return True if an edge is inside one component, while components are merged: it closes a cycle."""
    rest = model.units - model.sizes[-1]
    component = list(range(rest))
    for low, high in model.edges.tolist():
        if high < rest:
            if component[low] == component[high]:
                return True
            component = [component[low] if name == component[high] else name for name in component]
    return False


@pytest.mark.parametrize("make", [small_head, small_pooled, chain, long_chain, pairs, tower])
def test_minima_of_every_shape_are_exact(make) -> None:
    model = make()
    features = features_for(model, 20, seed=6)
    _, energies = ground_state(model, model.linear(features))
    drawn = ExactAnnealer(1e9).sample(model, model.linear(features), 5, seed=7).energies.min(axis=1)
    expected = [exact_minimum(model.q_matrix(row)) for row in features]
    np.testing.assert_allclose(energies, expected, rtol=0, atol=1e-9)
    np.testing.assert_allclose(drawn, expected, rtol=0, atol=1e-8)


def test_minima_of_a_full_head_beat_every_class_tried_by_hand() -> None:
    model = head()
    features = features_for(model, 50)
    _, energies = ground_state(model, model.linear(features))
    weights = -model.quadratic[:40, 40:]
    single = -2.0 - np.maximum(features[:, :, np.newaxis] + weights, 0.0).sum(axis=1)
    assert np.all(energies <= single.min(axis=1) + 1e-9)


def test_hidden_layers_are_refused_with_their_units() -> None:
    for visible, joined in (("sampled", "348"), ("folded", "152")):
        with pytest.raises(Refused, match=rf"10 class units.*{joined} units are joined in cycles.*local"):
            ExactAnnealer().check(conv358(visible))


def test_too_many_classes_are_refused() -> None:
    ExactAnnealer().check(head(units=2, classes=16))
    with pytest.raises(Refused, match="17 class units; the exact annealer enumerates up to 16"):
        ExactAnnealer().check(head(units=2, classes=17))


def test_too_many_units_for_the_tables_are_refused() -> None:
    with pytest.raises(Refused, match=r"600 units in addition to its 16 class units; .* takes 512"):
        ExactAnnealer().check(head(units=600, classes=16))


@pytest.mark.parametrize("beta", [0.0, -1.0, np.nan, np.inf])
def test_impossible_temperatures_are_refused(beta: float) -> None:
    with pytest.raises(ParameterError, match="beta"):
        ExactAnnealer(beta)


def test_the_default_temperature_is_the_models() -> None:
    model = head()
    linear = model.linear(features_for(model, 2))
    given_beta = ExactAnnealer(default_beta(model)).sample(model, linear, 50, seed=7)
    np.testing.assert_array_equal(ExactAnnealer().sample(model, linear, 50, seed=7).bits, given_beta.bits)
