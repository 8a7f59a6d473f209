"""The contract of every annealer."""

from __future__ import annotations

from collections.abc import Iterator

import dimod
import numpy as np
import pytest

from schema.errors import ParameterError
from tests.contract.remote import RemoteAnnealer
from tests.emulators import TOKEN, Emulator
from tests.models import dense, features_for, head, pooled
from worker.annealers.base import LocalAnnealer
from worker.annealers.exact import ExactAnnealer
from worker.annealers.simulated import SimulatedAnnealer
from worker.qubo.energy_model import EnergyModel, build_model
from worker.qubo.noise import Noise, noise_for
from worker.sapi.client import Access

LOCAL = {
    "local": SimulatedAnnealer(),
    "local, 2 threads": SimulatedAnnealer(threads=2),
    "exact": ExactAnnealer(),
}


@pytest.fixture(params=LOCAL)
def annealer(request: pytest.FixtureRequest) -> LocalAnnealer:
    """Return an annealer of this process, whose reads follow from the seed."""
    return LOCAL[request.param]


@pytest.fixture(scope="module")
def emulator() -> Iterator[LocalAnnealer]:
    """The emulator, through D-Wave's client."""
    with Emulator("--solver=small=zephyr:6") as running:
        remote = RemoteAnnealer(Access(running.endpoint, TOKEN), "small")
        yield remote
        remote.connection.close()


@pytest.fixture(params=[*LOCAL, "emulator", pytest.param("qpu", marks=pytest.mark.qpu)])
def any_annealer(request: pytest.FixtureRequest) -> LocalAnnealer:
    """Every annealer; `qpu` is the solver of D-Wave's own configuration, and costs money."""
    if request.param == "qpu":
        return RemoteAnnealer(Access())
    return LOCAL[request.param] if request.param in LOCAL else request.getfixturevalue("emulator")


@pytest.fixture(
    params=[(head, "sampled"), (head, "folded"), (pooled, "sampled"), (pooled, "folded")],
    ids=["head", "head, folded", "pooled", "pooled, folded"],
)
def model(request: pytest.FixtureRequest) -> EnergyModel:
    make, visible = request.param
    return make(visible)


def test_reads_have_the_shape_and_the_energies_of_the_model(
    any_annealer: LocalAnnealer, model: EnergyModel
) -> None:
    any_annealer.check(model)
    features = features_for(model, 3)
    samples = any_annealer.sample(model, model.linear(features), reads=7, seed=1)
    assert samples.bits.shape == (3, 7, model.units)
    assert samples.bits.dtype == np.uint8
    assert samples.bits.max() <= 1
    assert samples.energies.shape == (3, 7)
    assert samples.energies.dtype == np.float64
    assert samples.elapsed_s > 0.0
    for image in range(3):
        states = samples.bits[image].astype(float)
        expected = np.einsum("ri,ij,rj->r", states, model.q_matrix(features[image]), states)
        np.testing.assert_allclose(samples.energies[image], expected, rtol=0, atol=1e-9)


def test_the_same_seed_gives_the_same_reads(annealer: LocalAnnealer, model: EnergyModel) -> None:
    linear = model.linear(features_for(model, 3))
    first, again = (annealer.sample(model, linear, reads=50, seed=5).bits for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_other_seeds_and_other_images_give_other_reads(annealer: LocalAnnealer) -> None:
    model = head()
    linear = model.linear(np.repeat(features_for(model, 1), 2, axis=0))
    first, second = annealer.sample(model, linear, reads=200, seed=3).bits
    other, _ = annealer.sample(model, linear, reads=200, seed=4).bits
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, other)


def test_an_images_reads_do_not_depend_on_its_batch(annealer: LocalAnnealer, model: EnergyModel) -> None:
    linear = model.linear(features_for(model, 7))
    whole = annealer.sample(model, linear, reads=31, seed=2, first_image=100).bits
    parts = [
        annealer.sample(model, linear[start : start + 3], reads=31, seed=2, first_image=100 + start).bits
        for start in (0, 3, 6)
    ]
    np.testing.assert_array_equal(whole, np.concatenate(parts))


def test_noise_does_not_depend_on_the_batch(annealer: LocalAnnealer, model: EnergyModel) -> None:
    linear, noise = model.linear(features_for(model, 5)), noise_for(model, 1.0, 0.1, seed=2)
    whole = annealer.sample(model, linear, 31, 2, 100, noise)
    parts = [
        annealer.sample(model, linear[start : start + 2], 31, 2, 100 + start, noise) for start in (0, 2, 4)
    ]
    np.testing.assert_array_equal(whole.bits, np.concatenate([part.bits for part in parts]))
    assert not np.array_equal(whole.bits, annealer.sample(model, linear, 31, 2, 100).bits)


def test_energies_are_told_without_the_noise(annealer: LocalAnnealer, model: EnergyModel) -> None:
    linear = model.linear(features_for(model, 3))
    samples = annealer.sample(model, linear, 20, 1, noise=noise_for(model, 1.0, 0.5, seed=1))
    np.testing.assert_allclose(samples.energies, model.energies(linear, samples.bits), rtol=0, atol=1e-9)


def test_reads_follow_the_noisy_model(annealer: LocalAnnealer) -> None:
    """Errors far larger than the model decide every unit that is free: h alone, as J gets none."""
    model = head(units=4, classes=2)
    linear = np.zeros((3, model.units))
    noise = Noise(sigma_h=1e4, sigma_j=0.0, seed=3)
    bits = annealer.sample(model, linear, 50, 3, noise=noise).bits
    for image in range(3):
        h, _ = noise.errors(model, image)
        np.testing.assert_array_equal(bits[image].mean(axis=0), h < 0.0)


def test_the_lowest_read_of_a_small_model_is_its_minimum(any_annealer: LocalAnnealer) -> None:
    rng = np.random.default_rng(4)
    model = build_model([dense(rng, 8, 4)], [rng.normal(size=4)], lam=2.0)
    features = features_for(model, 5)
    samples = any_annealer.sample(model, model.linear(features), reads=2000, seed=4)
    for image in range(5):
        matrix = model.q_matrix(features[image])
        exact = dimod.ExactSolver().sample_qubo(
            {(i, j): matrix[i, j] for i in range(12) for j in range(i, 12)}
        )
        assert samples.energies[image].min() == pytest.approx(exact.first.energy, abs=1e-9)


def test_a_strong_feature_shows_in_the_reads(any_annealer: LocalAnnealer) -> None:
    model = head(units=4, classes=2)
    features = np.array([[50.0, -50.0, 50.0, -50.0], [-50.0, 50.0, -50.0, 50.0]])
    means = any_annealer.sample(model, model.linear(features), reads=100, seed=5).bits.mean(axis=1)[:, :4]
    np.testing.assert_array_equal(means, features > 0.0)


def test_an_empty_batch_is_answered(annealer: LocalAnnealer, model: EnergyModel) -> None:
    samples = annealer.sample(model, np.empty((0, model.units)), reads=5, seed=0)
    assert samples.bits.shape == (0, 5, model.units)
    assert samples.energies.shape == (0, 5)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"reads": 0}, "reads must be 1 to 10,000"),
        ({"reads": -3}, "reads must be 1 to 10,000"),
        ({"reads": 10_001}, "reads must be 1 to 10,000"),
        ({"seed": -1}, "seed"),
        ({"first_image": -1}, "first image"),
        ({"linear": np.zeros((2, 3))}, "linear terms"),
        ({"linear": np.zeros(50)}, "linear terms"),
        ({"linear": np.full((1, 50), np.nan)}, "finite"),
        ({"linear": np.full((1, 50), np.inf)}, "finite"),
    ],
)
def test_impossible_requests_are_refused(
    annealer: LocalAnnealer, change: dict[str, object], match: str
) -> None:
    request = {"linear": np.zeros((1, 50)), "reads": 10, "seed": 0, "first_image": 0, **change}
    with pytest.raises(ParameterError, match=match):
        annealer.sample(head(), **request)


class _Stopped(Exception):
    """An interrupt of the annealer."""


def test_it_stops_between_images_when_it_is_told(annealer: LocalAnnealer) -> None:
    model, heard = head(), []

    def check_interrupt() -> None:
        heard.append(True)
        if len(heard) >= 2:
            raise _Stopped

    linear = model.linear(np.repeat(features_for(model, 2), 300, axis=0))
    with pytest.raises(_Stopped):
        annealer.sample(model, linear, reads=10_000, seed=0, check_interrupt=check_interrupt)
    assert len(heard) < 600 + 1
