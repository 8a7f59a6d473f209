"""The classifier for scikit-learn: its own checks, and what it promises beyond them."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils.estimator_checks import check_estimator

from annealq import AnnealqClassifier, Network, NetworkError, ParameterError

X, Y = load_iris(return_X_y=True)


@pytest.fixture(scope="module")
def fitted() -> AnnealqClassifier:
    return AnnealqClassifier(epochs=20, random_state=0).fit(X, Y)


@pytest.mark.filterwarnings("ignore:Skipping check check_array_api_input")  # it needs SCIPY_ARRAY_API
@pytest.mark.parametrize("epochs", [10, pytest.param(None, marks=pytest.mark.slow)])
def test_scikit_learn_finds_nothing(epochs: int | None) -> None:
    """All checks, with none that is expected to fail; by default it trains for longer."""
    done = check_estimator(AnnealqClassifier(epochs=epochs))
    assert {check["status"] for check in done} <= {"passed", "skipped"}
    assert [check["check_name"] for check in done if check["status"] == "skipped"] in (
        [],
        ["check_array_api_input"],
    )


@pytest.mark.parametrize("solver", ["local", "exact"])
@pytest.mark.parametrize("visible", ["sampled", "folded"])
def test_an_annealer_reads_the_same_classes(fitted: AnnealqClassifier, solver: str, visible: str) -> None:
    reading = copy.deepcopy(fitted).set_params(solver=solver, reads=60, visible=visible)
    own = fitted.predict(X)
    assert (reading.predict(X) == own).mean() > 0.95
    shares = reading.predict_proba(X)
    np.testing.assert_allclose(shares.sum(axis=1), 1.0)
    assert not np.array_equal(shares, fitted.predict_proba(X))
    np.testing.assert_array_equal(reading.predict_proba(X), shares)
    assert reading.decision_function(X).shape == (150, 3)


def test_where_nothing_was_read_the_network_decides(fitted: AnnealqClassifier) -> None:
    reading = copy.deepcopy(fitted).set_params(solver="local", reads=5, visible="folded")
    taught = fitted.network_._trained
    weights = {name: taught.weights[name].copy() for name in taught.architecture.shapes}
    weights["classes.weight"] -= 100.0  # each class unit costs more than the penalty gives
    reading.network_ = Network.from_weights(fitted.network_.architecture, weights)
    reads = reading.network_.sample(X, reads=5, visible="folded")
    assert not reading.network_.read_scores(X, reads, visible="folded").any()
    own = copy.deepcopy(reading).set_params(solver=None)
    np.testing.assert_array_equal(reading.predict_proba(X), own.predict_proba(X))


def test_one_seed_is_one_result() -> None:
    first, second, other = (
        AnnealqClassifier(epochs=3, random_state=seed).fit(X, Y).decision_function(X) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)


def test_its_network_is_saved_and_classifies(
    fitted: AnnealqClassifier, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("saved") / "iris.safetensors"
    fitted.network_.save(path)
    network = Network.load(path)
    assert network.classes == ("0", "1", "2")
    assert network.classify(X).tolist() == fitted.predict(X).tolist()
    np.testing.assert_allclose(network.probabilities(X), fitted.predict_proba(X), atol=1e-4)


def test_it_goes_where_classifiers_go() -> None:
    names = np.array(["setosa", "versicolor", "virginica"])[Y]
    pipeline = make_pipeline(MinMaxScaler(), AnnealqClassifier(epochs=40, random_state=0))
    assert cross_val_score(pipeline, X, names, cv=3).mean() > 0.85
    search = GridSearchCV(AnnealqClassifier(epochs=10, random_state=0), {"visible_units": [4, 20]}, cv=2)
    assert search.fit(X, names).best_estimator_.network_.classes == ("setosa", "versicolor", "virginica")
    assert clone(search.best_estimator_).get_params() == search.best_estimator_.get_params()


def test_two_classes_have_one_decision() -> None:
    x, y = load_breast_cancer(return_X_y=True)
    classifier = AnnealqClassifier(epochs=5, random_state=0).fit(x[:400], y[:400])
    decision = classifier.decision_function(x[400:])
    assert decision.shape == (169,)
    assert ((decision > 0) == classifier.predict(x[400:])).all()
    assert classifier.score(x[400:], y[400:]) > 0.9


def test_weights_of_classes_move_its_decisions() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(200, 2)), rng.integers(0, 2, 200)  # nothing can be learnt
    shares = [
        AnnealqClassifier(epochs=10, random_state=0, class_weight=weights).fit(x, y).predict(x).mean()
        for weights in ({0: 100.0, 1: 1.0}, {0: 1.0, 1: 100.0}, {0: 0.0})
    ]
    assert shares[0] < 0.1 < 0.9 < shares[1]
    assert shares[2] > 0.9


def test_hidden_units_are_part_of_the_energy() -> None:
    classifier = AnnealqClassifier(visible_units=8, hidden_units=6, epochs=20, random_state=0).fit(X, Y)
    assert classifier.network_.units == 8 + 6 + 3
    assert classifier.score(X, Y) > 0.8
    reading = classifier.set_params(solver="local", reads=50)
    assert reading.score(X, Y) > 0.8


def test_what_is_wrong_is_named(fitted: AnnealqClassifier) -> None:
    with pytest.raises(ValueError, match="1 class: give samples of two or more"):
        AnnealqClassifier().fit(X, np.zeros(150))
    with pytest.raises(ParameterError, match="class_weight 'equal' is not known"):
        AnnealqClassifier(class_weight="equal").fit(X, Y)
    with pytest.raises(NetworkError, match="units must be"):
        AnnealqClassifier(visible_units=0).fit(X, Y)
    with pytest.raises(NetworkError, match="epochs must be"):
        AnnealqClassifier(epochs=0).fit(X, Y)
    with pytest.raises(ParameterError, match="does not work in this process"):
        copy.deepcopy(fitted).set_params(solver="dwave").predict(X)
    with pytest.raises(ParameterError, match="unknown solver 'none'"):
        copy.deepcopy(fitted).set_params(solver="none").predict(X)
