"""Q and its energies: signs, shapes, and the same number whichever way it is computed."""

from __future__ import annotations

import hashlib

import dimod
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schema.errors import NetworkError, ParameterError
from tests.models import all_states, conv358, dense, features_for, head, pooled, pools, small_models
from worker.qubo.energy_model import Coupling, EnergyModel, build_model

RNG = np.random.default_rng


def brute_force(matrix: np.ndarray, states: np.ndarray) -> np.ndarray:
    return np.array([state @ matrix @ state for state in states.astype(float)])


@given(small_models(), st.integers(0, 2**32))
def test_energies_are_those_of_the_q_matrix(model: EnergyModel, seed: int) -> None:
    features = features_for(model, 3, seed)
    states = all_states(model.units)
    energies = model.energies(model.linear(features), np.stack([states] * 3))
    for image in range(3):
        matrix = model.q_matrix(features[image])
        assert np.array_equal(matrix, np.triu(matrix))
        np.testing.assert_allclose(energies[image], brute_force(matrix, states), rtol=0, atol=1e-9)


@pytest.mark.parametrize("visible", ["sampled", "folded"])
@pytest.mark.parametrize("make", [head, pooled, conv358])
def test_energies_of_the_presets_agree_with_dimod(make, visible) -> None:
    model = make(visible)
    features = features_for(model, 2)
    bits = RNG(0).integers(0, 2, (2, 40, model.units), dtype=np.uint8)
    energies = model.energies(model.linear(features), bits)
    for image in range(2):
        matrix = model.q_matrix(features[image])
        quadratic = {(int(i), int(j)): matrix[i, j] for i, j in np.argwhere(matrix)}
        bqm = dimod.BinaryQuadraticModel.from_qubo(quadratic)
        bqm.add_linear_from(dict.fromkeys(range(model.units), 0.0))
        expected = bqm.energies((bits[image], range(model.units)))
        np.testing.assert_allclose(energies[image], expected, rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("make", [head, pooled, conv358])
def test_energies_of_single_precision_are_good_to_a_millionth(make) -> None:
    model = make("sampled")
    linear = model.linear(features_for(model, 2))
    bits = RNG(2).integers(0, 2, (2, 300, model.units), dtype=np.uint8)
    single, double = model.energies(linear, bits, np.float32), model.energies(linear, bits)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, double, rtol=0, atol=2e-6 * np.abs(double).max())


def test_energies_do_not_depend_on_how_many_reads_are_asked_at_once() -> None:
    model = conv358()
    linear = model.linear(features_for(model, 3))
    bits = RNG(1).integers(0, 2, (3, 700, model.units), dtype=np.uint8)
    together = model.energies(linear, bits)
    apart = np.concatenate(
        [model.energies(linear[[image]], bits[[image], start : start + 7])
         for image in range(3) for start in range(0, 700, 7)], axis=None,
    )  # fmt: skip
    assert np.array_equal(together.ravel(), apart)


def test_signs_of_a_pooling_network() -> None:
    weights = np.array([[0.5, -0.25], [2.0, 1.0]])
    model = build_model(
        [pools(2, 2, alpha=3.0), Coupling(weights, np.ones((2, 2), dtype=bool))], None, lam=4.0
    )
    matrix = model.q_matrix(np.array([0.1, 0.2, -0.3, 0.4]))
    expected = np.diag([-0.1, -0.2, 0.3, -0.4, 0.0, 0.0, -4.0, -4.0])
    expected[0, 4] = expected[1, 4] = expected[2, 5] = expected[3, 5] = -3.0
    expected[4:6, 6:8] = -weights
    expected[6, 7] = 8.0
    np.testing.assert_array_equal(matrix, expected)
    assert model.sizes == (4, 2, 2)
    assert model.class_units == slice(6, 8)
    assert model.layers == (slice(0, 4), slice(4, 6), slice(6, 8))
    assert model.feature_count == 4


def test_a_networks_biases_lower_the_energy() -> None:
    rng = RNG(4)
    model = build_model(
        [dense(rng, 3, 2), dense(rng, 2, 2)], [np.array([1.0, 2.0]), np.array([3.0, 4.0])], lam=0.5
    )
    np.testing.assert_array_equal(model.linear(np.zeros((1, 3)))[0, 3:], [-1.0, -2.0, -3.5, -4.5])


@pytest.mark.parametrize("lam", [0.0, 1.0, 3.5])
def test_the_penalty_makes_one_class_best(lam: float) -> None:
    model = build_model([Coupling(np.zeros((1, 4)), np.ones((1, 4), dtype=bool))], None, lam)
    states = np.concatenate((np.zeros((16, 1), dtype=np.uint8), all_states(4)), axis=1)
    energies = model.energies(model.linear(np.zeros((1, 1))), states[np.newaxis])[0]
    on = states.sum(axis=1)
    np.testing.assert_allclose(energies, lam * (on.astype(float) ** 2 - 2.0 * on))


@given(st.integers(0, 2**32))
def test_folding_gives_known_visible_units_their_real_values(seed: int) -> None:
    rng = RNG(seed)
    couplings = [dense(rng, 3, 2), dense(rng, 2, 3)]
    biases = [rng.normal(size=2), rng.normal(size=3)]
    sampled, folded = (build_model(couplings, biases, 1.0, visible) for visible in ("sampled", "folded"))
    features = rng.uniform(-1, 1, 3)
    states = all_states(5)
    values = np.concatenate((np.tile(features, (32, 1)), states), axis=1)
    # The visible units' own terms are the same for every state of the others.
    own = -(features**3).sum()
    expected = np.array([value @ sampled.q_matrix(features) @ value for value in values]) - own
    energies = folded.energies(folded.linear(features[np.newaxis]), states[np.newaxis])[0]
    np.testing.assert_allclose(energies, expected, rtol=0, atol=1e-9)
    assert folded.sizes == (2, 3)
    assert folded.feature_count == 3


def test_a_head_folds_to_its_class_units() -> None:
    model = head("folded")
    assert (model.sizes, model.units, len(model.edges)) == ((10,), 10, 45)


def test_only_the_linear_part_changes_with_the_image() -> None:
    model = head()
    features = features_for(model, 2)
    first, second = (model.q_matrix(row) for row in features)
    np.testing.assert_array_equal(np.triu(first, 1), np.triu(second, 1))
    np.testing.assert_array_equal(np.flatnonzero(np.diag(first) != np.diag(second)), np.arange(40))


def test_the_digest_names_the_interaction_graph() -> None:
    rng = RNG(5)
    first, second = (build_model([dense(rng, 2, 2)], None, 1.0) for _ in range(2))
    edges = [4, 0, 2, 0, 3, 1, 2, 1, 3, 2, 3]
    assert first.graph_digest == hashlib.sha256(np.array(edges, dtype="<i4").tobytes()).hexdigest()
    assert second.graph_digest == first.graph_digest
    assert build_model([dense(rng, 3, 2)], None, 1.0).graph_digest != first.graph_digest
    assert build_model([dense(rng, 1, 3)], None, 1.0).graph_digest != first.graph_digest


def test_a_coupler_of_weight_zero_stays_in_the_graph() -> None:
    zero = build_model([Coupling(np.zeros((2, 2)), np.ones((2, 2), dtype=bool))], None, 1.0)
    assert len(zero.edges) == 5


def test_a_models_arrays_cannot_be_changed() -> None:
    model = head("folded")
    for array in (model.bias, model.edges, model.couplings, model.fold, model.quadratic):
        assert array is not None
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


@pytest.mark.parametrize(
    ("weights", "mask", "match"),
    [
        (np.ones(3), np.ones(3, dtype=bool), "n_in"),
        (np.ones((0, 3)), np.ones((0, 3), dtype=bool), "n_in"),
        (np.ones((2, 3)), np.ones((3, 2), dtype=bool), "mask"),
        (np.ones((2, 3)), np.ones((2, 3)), "mask"),
        (np.full((2, 3), np.nan), np.ones((2, 3), dtype=bool), "finite"),
        (np.full((2, 3), np.inf), np.ones((2, 3), dtype=bool), "finite"),
        (np.ones((2, 3)), np.zeros((2, 3), dtype=bool), "no coupler"),
    ],
)
def test_impossible_couplings_are_refused(weights, mask, match: str) -> None:
    with pytest.raises(NetworkError, match=match):
        Coupling(weights, mask)


def test_impossible_networks_are_refused() -> None:
    rng = RNG(6)
    with pytest.raises(NetworkError, match="at least one"):
        build_model([], None, 1.0)
    with pytest.raises(NetworkError, match=r"coupling 0 ends in 3 units, coupling 1 starts from 4"):
        build_model([dense(rng, 2, 3), dense(rng, 4, 2)], None, 1.0)
    with pytest.raises(NetworkError, match="biases must have shapes"):
        build_model([dense(rng, 2, 3)], [np.zeros(2)], 1.0)
    with pytest.raises(NetworkError, match="not finite"):
        build_model([dense(rng, 2, 3)], [np.array([0.0, np.nan, 0.0])], 1.0)
    for lam in (-1.0, np.nan, np.inf):
        with pytest.raises(ParameterError, match="lam"):
            build_model([dense(rng, 2, 3)], None, lam)
    with pytest.raises(ParameterError, match="visible"):
        build_model([dense(rng, 2, 3)], None, 1.0, "hidden")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("edges", "match"),
    [
        ([[1, 0]], "lower first"),
        ([[0, 3]], "one of|two of"),
        ([[0, 1], [0, 1]], "once"),
        ([[1, 2], [0, 1]], "sorted"),
    ],
)
def test_impossible_edges_are_refused(edges: list[list[int]], match: str) -> None:
    with pytest.raises(NetworkError, match=match):
        EnergyModel((1, 2), np.zeros(3), np.array(edges, dtype=np.int32), np.ones(len(edges)))


def test_features_and_reads_of_another_shape_are_refused() -> None:
    model = head()
    with pytest.raises(NetworkError, match=r"features \(B, 40\)"):
        model.linear(np.zeros((2, 41)))
    with pytest.raises(NetworkError, match="not finite"):
        model.linear(np.full((2, 40), np.nan))
    linear = model.linear(np.zeros((2, 40)))
    with pytest.raises(ParameterError, match="reads must be uint8"):
        model.energies(linear, np.zeros((2, 3, 49), dtype=np.uint8))
    with pytest.raises(ParameterError, match="reads must be uint8"):
        model.energies(linear, np.zeros((2, 3, 50)))  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match="linear biases"):
        model.energies(linear[:1], np.zeros((2, 3, 50), dtype=np.uint8))
