"""What training makes large: the score of the right class state, under the noise of the hardware."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as fn
from torch import Tensor

from schema.architecture import Architecture
from schema.errors import NetworkError
from schema.specs import PoolUnits, Training
from worker.network.layers import (
    Network,
    class_energies,
    class_states,
    pool_field,
    pools,
    state_scores,
)
from worker.network.transfer import check_transfer


@dataclass(frozen=True, eq=False)
class Head:
    """The class units and what they are coupled to: all that class states depend on.

    field: (B, n), weight: (K, n), class_field: (B, K) or None, pairs: (K, K) or None; minus the
    coefficients of E, but for ``pairs``, which is added to E for each pair of classes on.
    """

    field: Tensor
    weight: Tensor
    class_field: Tensor | None = None
    pairs: Tensor | None = None

    def scores(self, states: Tensor, beta: float, lam: float) -> Tensor:
        """-beta F of the class states (S, K) -> (B, S)."""
        energy = class_energies(states, lam)
        if self.class_field is not None and self.pairs is not None:
            energy = energy + torch.einsum("sk,kl,sl->s", states, self.pairs, states)
            energy = energy - self.class_field @ states.T
        return state_scores(self.field, self.weight, states, energy, beta)


def energy_head(network: Network, features: Tensor, beta: float, lam: float, sigma: float = 0.0) -> Head:
    """The head of a network for features (B, nv); under a pooling layer, visible units are summed out.

    sigma: standard deviation of Gaussian noise on h and J, as a fraction of the largest |h| and |J|.
    """
    weight = network.classes.weight
    architecture = network.architecture
    if architecture.form == "head":
        return perturb(Head(features, weight), lam, sigma) if sigma else Head(features, weight)
    pooling = architecture.energy[0]
    assert isinstance(pooling, PoolUnits)  # noqa: S101  (what ``pooled`` means)
    blocks = pools(features, architecture.unit_shapes[0], pooling.size)
    coupling = architecture.alpha
    if not sigma:
        return Head(pool_field(blocks, coupling, beta), weight)
    return _perturb_pooled(blocks, coupling, weight, (beta, lam, sigma))


def check_transfer_for(architecture: Architecture, transfer: str) -> None:
    """Refuse what has no objective here.

    Raises:
        NetworkError: an unknown transfer; or ``energy`` for an architecture with hidden units, whose free
            energies do not factorise, so that they cannot be summed out exactly.
    """
    check_transfer(transfer)
    if transfer == "energy" and architecture.form == "deep":
        kinds = ", ".join(layer.kind for layer in architecture.energy)
        raise NetworkError(
            f"{architecture.name}: the energy transfer takes no energy layers or one pool layer, "
            f"not {kinds}; use the paper transfer"
        )


def perturb(head: Head, lam: float, sigma: float, at_least: tuple[float, float] = (0.0, 0.0)) -> Head:
    """Add Gaussian noise to h and J of the units of ``head``: h and dJ drawn for x = (1 + s) / 2.

    at_least: lower bounds of the largest |h| and |J|, from units that are not in the head.
    """
    field, weight = head.field, head.weight
    classes = len(weight)
    spin_v = -field.detach() / 2 - weight.detach().sum(dim=0) / 4
    spin_c = lam * (classes - 2) / 2 - weight.detach().sum(dim=1) / 4
    sigma_h = sigma * max(float(spin_v.abs().max()), float(spin_c.abs().max()), at_least[0])
    sigma_j = sigma * max(float(weight.detach().abs().max()) / 4, lam / 2, at_least[1])
    noise_j = sigma_j * torch.randn_like(weight)
    noise_pairs = sigma_j * torch.randn(classes, classes).triu(1)
    noise_c = sigma_h * torch.randn(len(field), classes)
    around = noise_j.sum(dim=1) + noise_pairs.sum(dim=0) + noise_pairs.sum(dim=1)
    return Head(
        field - 2 * sigma_h * torch.randn_like(field) + 2 * noise_j.sum(dim=0),
        weight - 4 * noise_j,
        2 * around - 2 * noise_c,
        4 * noise_pairs,
    )


def _perturb_pooled(blocks: Tensor, alpha: float, weight: Tensor, scales: tuple[float, float, float]) -> Head:
    beta, lam, sigma = scales
    spin_v = float((blocks.detach() / 2 + alpha / 4).abs().max())
    spin_p = blocks.shape[2] * alpha / 4 + float(weight.detach().sum(dim=0).abs().max()) / 4
    bounds = (max(spin_v, spin_p), alpha / 4)
    sigma_h = sigma * max(bounds[0], lam * (len(weight) - 2) / 2)
    sigma_j = sigma * max(bounds[1], lam / 2, float(weight.detach().abs().max()) / 4)
    noise_j = sigma_j * torch.randn(blocks.shape[1:])
    noisy = blocks - 2 * sigma_h * torch.randn_like(blocks) + 2 * noise_j
    field = pool_field(noisy, alpha - 4 * noise_j, beta) + 2 * noise_j.sum(dim=1)
    return perturb(Head(field, weight), lam, sigma, bounds)


class Objective:
    """Cross-entropy over class states (energy), or over classes (paper)."""

    def __init__(self, network: Network, training: Training, transfer: str) -> None:
        self._network = network
        self._training = training
        self._transfer = transfer
        self._states = class_states(network.architecture.classes)

    def loss(self, pixels: Tensor, labels: Tensor, *, progress: float) -> tuple[Tensor, Tensor]:
        """Mean loss (scalar) and predictions (B,) of one batch; ``progress`` runs from 0 to 1 over training.

        Energy: beta grows from a quarter to the whole, and the right state's energy is raised by
        ``margin``, so that it must win by more than that.
        """
        network, plan = self._network, self._training
        if self._transfer == "paper":
            logits = network.logits(pixels)
            return fn.cross_entropy(logits, labels), logits.detach().argmax(dim=1)
        beta = plan.beta * (0.25 + 0.75 * progress)
        head = energy_head(network, network.visible(pixels), beta, plan.lam, plan.noise)
        scores = head.scores(self._states, beta, plan.lam)
        predictions = scores.detach()[:, : network.architecture.classes].argmax(dim=1)
        handicap = fn.one_hot(labels, len(self._states)) * (beta * plan.margin)
        return fn.cross_entropy(scores - handicap, labels), predictions

    def bound(self) -> None:
        """Keep the couplings to the class units within the bound, so that Q keeps a sensible range."""
        if self._transfer == "energy":
            limit = self._training.weight_bound * self._network.architecture.alpha
            with torch.no_grad():
                self._network.classes.weight.clamp_(-limit, limit)


def class_scores(network: Network, pixels: Tensor, transfer: str) -> Tensor:
    """The network's own scores (B, K): softmax logits (paper), or -beta F of one-hot states (energy)."""
    check_transfer_for(network.architecture, transfer)
    if transfer == "paper":
        return network.logits(pixels)
    plan = network.architecture.training
    head = energy_head(network, network.visible(pixels), plan.beta, plan.lam)
    return head.scores(torch.eye(network.architecture.classes), plan.beta, plan.lam)
