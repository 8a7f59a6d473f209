"""Errors of h and J in training: those of a chip that a network is scaled to, and which images share them."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import numpy as np
import pytest
import torch

from schema.codecs.tiling import Tiling
from schema.errors import NetworkError
from schema.network.architecture import PRESETS, Architecture, preset
from schema.network.layers import Training
from worker.embedding.model.graphs import Interactions, SolverGraph
from worker.embedding.model.placement import place_tiling
from worker.embedding.model.scale import Ranges, fit_scale
from worker.network.deep import energy_layers
from worker.network.errors import Errors
from worker.network.layers import NetworkModule, class_states
from worker.network.objective import ClassHead, energy_head, perturb
from worker.network.transfer import energy_model
from worker.qubo.noise import largest_h

BETA, LAM, ALPHA = 4.0, 1.5, 2.0
HEAD: dict[str, Any] = {
    "name": "small",
    "input": {"height": 2, "width": 2},
    "classes": 3,
    "alpha": ALPHA,
    "training": {"lam": LAM},
}
FORMS = {
    "head": HEAD,
    "pooled": {**HEAD, "energy": [{"kind": "pool", "size": 2}]},
    "deep": {**HEAD, "energy": [{"kind": "dense", "units": 5}]},
}


def scale_on_a_chip(weight: torch.Tensor) -> float:
    """The factor of a network with ``weight`` (3, 4), on a chip with one qubit for each unit."""
    architecture = Architecture.from_dict(HEAD)
    model = energy_model(architecture, {"classes.weight": weight.numpy()}, "energy", "sampled")
    qubits = np.arange(model.units, dtype=np.int32)
    edges = model.edges.astype(np.int32)
    graph = SolverGraph("all", "1", "chimera", (1, 1, 4), len(qubits), qubits, edges)
    tiling = Tiling.from_chains([[[unit] for unit in range(model.units)]])
    placement = place_tiling(graph, Interactions.of(model), tiling)
    ranges = Ranges(h=(-4.0, 4.0), J=(-1.0, 1.0))
    return fit_scale(placement, largest_h(model, ALPHA), model.couplings / 4.0, 1.0, ranges)


@pytest.mark.parametrize(("fill", "limit"), [(0.1, "J"), (3.0, "h")])
def test_errors_are_those_of_the_chip_in_its_units(fill: float, limit: str) -> None:
    """The errors that training adds, times the factor of the network, are those that were asked for."""
    weight = torch.full((3, 4), fill)
    scale = scale_on_a_chip(weight)
    assert scale == pytest.approx(1 / (LAM / 2) if limit == "J" else 4 / (ALPHA / 2 + 3 * fill / 4))
    features = ALPHA * torch.tensor([1.0, -1.0]).repeat(50, 2)
    torch.manual_seed(0)
    heads = [perturb(ClassHead(features, weight), LAM, Errors(0.0, 0.02, 0.01)) for _ in range(400)]
    on_visible = torch.stack([(head.field - features) / -2 * scale for head in heads])
    on_classes = torch.stack(
        [head.class_field / -2 * scale for head in heads if head.class_field is not None]
    )
    for h in (on_visible, on_classes):
        assert float(h.mean(dim=1).std()) == pytest.approx(0.02, rel=0.1)
        assert float((h - h.mean(dim=1, keepdim=True)).std()) == pytest.approx(0.01, rel=0.05)
    heads = [perturb(ClassHead(features, weight), LAM, Errors(j_persistent=0.03)) for _ in range(400)]
    to_visible = torch.stack([(weight - head.weight) / 4 * scale for head in heads])
    pairs = torch.stack([head.pairs[0, 1:] / 4 * scale for head in heads if head.pairs is not None])
    for J in (to_visible, pairs):
        assert float(J.std()) == pytest.approx(0.03, rel=0.1)


def scores(form: str, errors: Errors | None) -> torch.Tensor:
    """Class scores (5, 3) of five equal images."""
    torch.manual_seed(1)
    network = NetworkModule(Architecture.from_dict(FORMS[form]), normalise=True)
    features = torch.tensor([[0.5, -1.0, 1.5, -0.2]]).repeat(5, 1)
    with torch.no_grad():
        if form == "deep":
            one_hot = torch.eye(3).unsqueeze(0)
            return energy_layers(network, features, BETA, LAM, errors).scores(one_hot, free=False)
        return energy_head(network, features, BETA, LAM, errors).scores(class_states(3), BETA, LAM)[:, :3]


@pytest.mark.parametrize("form", FORMS)
def test_images_of_a_batch_share_persistent_errors_and_no_others(form: str) -> None:
    for shared in (Errors(h_persistent=0.1), Errors(j_persistent=0.1)):
        found = scores(form, shared)
        torch.testing.assert_close(found, found[:1].expand(5, 3))
        assert float((found - scores(form, None)).abs().min()) > 1e-4
    own = scores(form, Errors(h_random=0.1))
    assert float((own[1:] - own[:1]).abs().min()) > 1e-4


def test_without_errors_of_a_chip_the_noise_is_what_it_was() -> None:
    """The same draws in the same order, bit for bit: seeds give the weights that they always gave."""
    features, weight = torch.randn(7, 4), torch.randn(3, 4)
    torch.manual_seed(2)
    found = perturb(ClassHead(features, weight), LAM, Errors(share=0.02))
    torch.manual_seed(2)
    largest_c = float((LAM / 2 - weight.sum(dim=1) / 4).abs().max())
    sigma_h = 0.02 * max(float((features / 2 + weight.sum(dim=0) / 4).abs().max()), largest_c)
    sigma_j = 0.02 * max(float(weight.abs().max()) / 4, LAM / 2)
    J = sigma_j * torch.randn(3, 4)
    pairs = sigma_j * torch.randn(3, 3).triu(1)
    h = sigma_h * torch.randn(7, 3)
    assert torch.equal(found.field, features - 2 * sigma_h * torch.randn(7, 4) + 2 * J.sum(dim=0))
    assert torch.equal(found.weight, weight - 4 * J)
    around = J.sum(dim=1) + pairs.sum(dim=0) + pairs.sum(dim=1)
    assert found.class_field is not None
    assert torch.equal(found.class_field, 2 * around - 2 * h)
    assert Errors.of(Training.from_dict({"noise": 0.0})) is None


def test_networks_without_errors_of_a_chip_have_the_digests_that_they_had() -> None:
    text = files("schema").joinpath("presets", "conv358.json").read_text(encoding="utf-8")
    shipped = json.loads(text)["architecture"]
    assert preset("conv358").to_dict() == shipped
    for name in PRESETS:
        assert preset(name).to_dict()["training"].keys() == shipped["training"].keys()
    chip = {"h_persistent": 0.015, "h_random": 0.005, "j_persistent": 0.01}
    described = Architecture.from_dict({**HEAD, "training": chip})
    assert described.to_dict()["training"].items() >= chip.items()
    assert Architecture.from_dict(described.to_dict()) == described
    with pytest.raises(NetworkError, match="j_persistent must be a number from 0 to 1, not -1"):
        Training.from_dict({"j_persistent": -1.0})
