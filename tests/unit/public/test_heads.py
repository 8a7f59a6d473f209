"""The torch head: trained with a user's own layers and optimiser, on any device, and exported as it is."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from annealq import EnergyHead, NetworkError, ParameterError
from worker.network.errors import ScaledErrors

_FORMS = [{"visible": 12}, {"visible": None}, {"visible": 8, "hidden": 6}]


def clusters(count: int = 120, classes: int = 3, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Points around the corners of a simplex, so far apart that they can be told apart."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(count) % classes
    return 4.0 * torch.eye(classes)[y] + torch.randn(count, classes, generator=generator), y


def fit(layers: nn.Sequential, head: EnergyHead, x: Tensor, y: Tensor, steps: int = 150) -> None:
    """Train as a user would: own layers, own loop, own optimiser."""
    parameters = [*layers.parameters(), *(p for p in head.parameters() if p.requires_grad)]
    optimiser = torch.optim.AdamW(parameters, lr=0.02)
    for step in range(steps):
        optimiser.zero_grad()
        head.loss(layers(x), y, progress=step / steps).backward()
        optimiser.step()


@pytest.fixture(scope="module", params=_FORMS, ids=str)
def trained(request: pytest.FixtureRequest) -> tuple[nn.Sequential, EnergyHead, Tensor, Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        x, y = clusters()
        layers = nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Linear(16, 6))
        head = EnergyHead(6, 3, **request.param)
        fit(layers, head, x, y)
    return layers.eval(), head.eval(), x, y


def test_a_users_layers_learn_through_it(
    trained: tuple[nn.Sequential, EnergyHead, Tensor, Tensor],
) -> None:
    layers, head, _, _ = trained
    x, y = clusters(300, seed=7)
    vectors = layers(x)
    assert (head.predict(vectors) == y).float().mean() > 0.95
    shares = head.predict_proba(vectors)
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(300))
    assert torch.equal(shares.argmax(dim=1), head.predict(vectors))
    torch.testing.assert_close(head(vectors), head.class_scores(vectors))


def test_the_exported_network_is_the_head(
    trained: tuple[nn.Sequential, EnergyHead, Tensor, Tensor],
) -> None:
    layers, head, x, _ = trained
    train = layers(x).detach()
    network = head.to_network("mine", classes=["a", "b", "c"], vectors=train)
    assert (network.name, network.classes, network.shape) == ("mine", ("a", "b", "c"), (6,))
    vectors = layers(clusters(60, seed=3)[0]).detach()
    own = head.predict(vectors).numpy()
    np.testing.assert_allclose(
        network.class_scores(vectors.numpy()), head.class_scores(vectors).detach().numpy(), rtol=1e-5
    )
    assert network.classify(vectors.numpy()).tolist() == own.tolist()
    for visible in ("sampled", "folded"):
        reads = network.sample(vectors.numpy(), reads=50, seed=2, visible=visible)
        scores = network.read_scores(vectors.numpy(), reads, visible=visible)
        assert (scores.argmax(axis=1) == own).mean() >= 0.95


def test_couplings_stay_within_their_bound() -> None:
    x, y = clusters()
    torch.manual_seed(0)
    head = EnergyHead(3, 3, visible=4, hidden=3, weight_bound=0.5)
    optimiser = torch.optim.SGD(head.parameters(), lr=5.0)
    for _ in range(5):
        optimiser.zero_grad()
        loss = head.loss(x, y)
        couplings = [head.network.classes.weight, head.network.energy[0].weight]
        assert max(float(value.detach().abs().max()) for value in couplings) <= 0.5
        loss.backward()
        optimiser.step()


def test_two_losses_of_one_step_may_be_added() -> None:
    x, y = clusters()
    torch.manual_seed(0)
    head = EnergyHead(3, 3, weight_bound=0.1)  # the first weights exceed it
    (head.loss(x[:60], y[:60]) + head.loss(x[60:], y[60:])).backward()
    assert all(value.grad is not None for value in head.parameters())


@pytest.mark.parametrize("form", _FORMS, ids=str)
def test_it_stays_on_its_device(form: dict[str, int | None]) -> None:
    """On a device without data every operation that mixes devices fails."""
    head = EnergyHead(6, 3, noise=0.0, class_weights=[1.0, 2.0, 3.0], **form).to("meta")
    x, y = torch.empty(8, 6, device="meta"), torch.empty(8, dtype=torch.int64, device="meta")
    head.eval()  # the bound is checked by value
    for progress in (0.0, 1.0):
        assert head.loss(x, y, progress=progress).device.type == "meta"
    assert head.predict(x).device.type == "meta"
    assert ScaledErrors(0.1, 0.1, 0.1).draw_h(x.device, 8, 6).device.type == "meta"


def test_its_state_comes_back() -> None:
    x, _ = clusters()
    torch.manual_seed(0)
    head = EnergyHead(3, 3)
    other = EnergyHead(3, 3)
    other.load_state_dict(head.state_dict())
    assert torch.equal(other(x), head(x))
    assert torch.equal(copy.deepcopy(head)(x), head(x))


def test_standardised_vectors_need_no_scale_of_their_own() -> None:
    x, y = clusters()
    scaled = 1000.0 * x + 5e4
    torch.manual_seed(0)
    head = EnergyHead(3, 3)
    head.standardise(scaled)
    fit(nn.Sequential(), head, scaled, y)
    head.eval()
    assert (head.predict(scaled) == y).float().mean() > 0.95
    network = head.to_network()
    assert network.classify(scaled.numpy()).tolist() == head.predict(scaled).tolist()


def test_a_temperature_is_fitted_to_held_out_vectors() -> None:
    x, y = clusters(600)
    torch.manual_seed(0)
    head = EnergyHead(3, 3)
    fit(nn.Sequential(), head, x, y, steps=20)
    network = head.to_network(vectors=x, labels=(y + (torch.arange(600) % 10 == 0)) % 3)
    assert network.temperature > 1.0  # a tenth of the labels is wrong: the head is too sure
    assert head.to_network(vectors=x).temperature == 1.0


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        (lambda: EnergyHead(3, 1), "classes must be"),
        (lambda: EnergyHead(3, 3, visible=0), "units must be"),
        (lambda: EnergyHead(3, 3, beta=-1), "beta must be"),
        (lambda: EnergyHead(3, 3).to_network(""), "name must be"),
        (lambda: EnergyHead(3, 3).to_network(classes=["a"]), "it names 1 class"),
    ],
)
def test_what_no_network_can_be_is_refused(wrong: object, problem: str) -> None:
    with pytest.raises(NetworkError, match=problem):
        wrong()  # type: ignore[operator]


def test_what_does_not_fit_is_refused() -> None:
    x, y = clusters()
    head = EnergyHead(3, 3)
    with pytest.raises(ParameterError, match=r"must be \(B, 3\), not \(120, 2\)"):
        head(x[:, :2])
    with pytest.raises(ParameterError, match=r"int64 \(120,\)"):
        head.loss(x, y[:5])
    with pytest.raises(ParameterError, match=r"use y\.long\(\)"):
        head.loss(x, y.int())
    with pytest.raises(ParameterError, match="without vectors"):
        head.to_network(labels=y)
    with pytest.raises(ParameterError, match=r"need labels \(120,\)"):
        head.to_network(vectors=x, labels=y[:5])
    with pytest.raises(ParameterError, match="class weights must be 3 numbers"):
        EnergyHead(3, 3, class_weights=[1.0])
    with pytest.raises(ParameterError, match="standardise them before"):
        EnergyHead(3, 3, visible=None).standardise(x)
