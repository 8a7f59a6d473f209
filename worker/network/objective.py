"""The training objective: the score of the right class state, with the errors of the hardware."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as fn
from numpy.typing import NDArray
from torch import Tensor

from schema.network.layers import PoolUnits, Training
from worker.network.deep import energy_layers
from worker.network.errors import Errors
from worker.network.features import block_size
from worker.network.layers import (
    Names,
    NetworkModule,
    class_energies,
    class_states,
    pool_field,
    split_pools,
    state_scores,
)
from worker.network.transfer import check_transfer

# Visible units are free for the label and this many other classes: further ones hardly ever win.
_COMPETITORS = 4
# Instead of a sum of weights that are all 0.
_NOTHING = 1e-30
# The threshold of a pixel stays this far from 0 and 1.
_LOWEST = 0.02


@dataclass(frozen=True, eq=False)
class ClassHead:
    """The class units and what they are coupled to: all that scores of class states depend on.

    All are minus the coefficients of E, except ``pairs``, which is added to E for each pair of classes on.

    Attributes:
        field: (B, n), of the units that the class units are coupled to.
        weight: (K, n), the couplings.
        class_field: (B, K) or None, of the class units, due to noise.
        pairs: (K, K) or None, due to noise.
    """

    field: Tensor
    weight: Tensor
    class_field: Tensor | None = None
    pairs: Tensor | None = None

    def scores(self, states: Tensor, beta: float, lam: float) -> Tensor:
        """Return -beta F (B, S) of the class ``states`` (S, K), with one-hot penalty ``lam``."""
        energy = class_energies(states, lam)
        if self.class_field is not None and self.pairs is not None:
            energy = energy + torch.einsum("sk,kl,sl->s", states, self.pairs, states)
            energy = energy - self.class_field @ states.T
        return state_scores(self.field, self.weight, states, energy, beta)


def energy_head(
    network: NetworkModule, features: Tensor, beta: float, lam: float, errors: Errors | None = None
) -> ClassHead:
    """Return the head of a network for a batch; under a pooling layer, visible units are summed out.

    Args:
        network: without hidden units other than pools.
        features: (B, nv).
        beta: inverse temperature.
        lam: one-hot penalty.
        errors: of h and J; None: there are none.
    """
    weight = network.classes.weight
    architecture = network.architecture
    if architecture.form == "head":
        return perturb(ClassHead(features, weight), lam, errors) if errors else ClassHead(features, weight)
    pooling = architecture.energy[0]
    assert isinstance(pooling, PoolUnits)  # noqa: S101  (the form is ``pooled``)
    blocks = split_pools(features, architecture.unit_shapes[0], pooling.size)
    coupling = architecture.alpha
    if not errors:
        return ClassHead(pool_field(blocks, coupling, beta), weight)
    return _perturb_pooled(blocks, coupling, weight, (beta, lam), errors)


def perturb(
    head: ClassHead, lam: float, errors: Errors, at_least: tuple[float, float] = (0.0, 0.0)
) -> ClassHead:
    """Add Gaussian errors to h and J of the units of ``head``: h and dJ drawn for x = (1 + s) / 2.

    Args:
        head: without errors.
        lam: one-hot penalty.
        errors: their standard deviations.
        at_least: lower bounds of the largest |h| and |J|, from units that are not in the head.
    """
    field, weight = head.field, head.weight
    classes = len(weight)
    spin_v = -field.detach() / 2 - weight.detach().sum(dim=0) / 4
    spin_c = lam * (classes - 2) / 2 - weight.detach().sum(dim=1) / 4
    scaled = errors.scaled(
        max(float(spin_v.abs().max()), float(spin_c.abs().max()), at_least[0]),
        max(float(weight.detach().abs().max()) / 4, lam / 2, at_least[1]),
    )
    noise_j = scaled.draw_j(weight)
    noise_pairs = scaled.draw_j(weight.new_empty(classes, classes)).triu(1)
    noise_c = scaled.draw_h(field.device, len(field), classes)
    around = noise_j.sum(dim=1) + noise_pairs.sum(dim=0) + noise_pairs.sum(dim=1)
    return ClassHead(
        field - 2 * scaled.draw_h(field.device, *field.shape) + 2 * noise_j.sum(dim=0),
        weight - 4 * noise_j,
        2 * around - 2 * noise_c,
        4 * noise_pairs,
    )


def _perturb_pooled(
    blocks: Tensor, alpha: float, weight: Tensor, scales: tuple[float, float], errors: Errors
) -> ClassHead:
    beta, lam = scales
    spin_v = float((blocks.detach() / 2 + alpha / 4).abs().max())
    spin_p = blocks.shape[2] * alpha / 4 + float(weight.detach().sum(dim=0).abs().max()) / 4
    bounds = (max(spin_v, spin_p), alpha / 4)
    scaled = errors.scaled(
        max(bounds[0], lam * (len(weight) - 2) / 2),
        max(bounds[1], lam / 2, float(weight.detach().abs().max()) / 4),
    )
    noise_j = scaled.draw_j(blocks[0])
    noisy = blocks - 2 * scaled.draw_h(blocks.device, *blocks.shape) + 2 * noise_j
    field = pool_field(noisy, alpha - 4 * noise_j, beta) + 2 * noise_j.sum(dim=1)
    return perturb(ClassHead(field, weight), lam, errors, bounds)


class Objective:
    """Cross-entropy over class states (energy), or over classes (paper).

    ``weights`` (K,) float32 are those of images of each class in the mean over a batch; None: all are alike.
    """

    def __init__(
        self,
        network: NetworkModule,
        training: Training,
        transfer: str,
        weights: NDArray[np.float32] | None = None,
    ) -> None:
        self._network = network
        self._training = training
        self._errors = Errors.of(training)
        self._transfer = transfer
        self._is_deep = transfer == "energy" and network.architecture.form == "deep"
        self._states = class_states(network.architecture.classes)
        self._weights = None if weights is None else torch.from_numpy(weights)

    def loss(self, pixels: Tensor, labels: Tensor, *, progress: float) -> tuple[Tensor, Tensor]:
        """Return the mean loss (scalar) and predictions (B,) of one batch.

        Energy: beta grows from a quarter to the whole, and the energy of the right state is raised by
        ``margin``, so that it must win by more than that. With hidden units beta does not grow, and scores
        are energies, without a factor beta.

        Args:
            pixels: (B, 1, h, w) in [0, 1].
            labels: (B,) int64.
            progress: share of the training that is done, 0 to 1.
        """
        network, plan = self._network, self._training
        if self._transfer == "paper":
            logits = network.logits(pixels)
            return self._mean_loss(logits, labels, labels), logits.detach().argmax(dim=1)
        if self._is_deep:
            return self._deep_loss(pixels, labels, free=progress >= 1.0 - plan.free)
        beta = plan.beta * (0.25 + 0.75 * progress)
        head = energy_head(network, network.visible(pixels), beta, plan.lam, self._errors)
        scores = head.scores(self._states.to(head.field.device), beta, plan.lam)
        predictions = scores.detach()[:, : network.architecture.classes].argmax(dim=1)
        margin = fn.one_hot(labels, len(self._states)) * (beta * plan.margin)
        return self._mean_loss(scores - margin, labels, labels), predictions

    def _mean_loss(self, scores: Tensor, right: Tensor, labels: Tensor) -> Tensor:
        """Return the cross-entropy of states ``right`` (B,) by ``scores`` (B, S), weighted by ``labels``."""
        if self._weights is None:
            return fn.cross_entropy(scores, right)
        weights = self._weights.to(labels.device)[labels]
        losses = fn.cross_entropy(scores, right, reduction="none")
        return (weights * losses).sum() / weights.sum().clamp_min(_NOTHING)

    def _deep_loss(self, pixels: Tensor, labels: Tensor, *, free: bool) -> tuple[Tensor, Tensor]:
        """Return the same with hidden units; ``free``: maximise over visible units, with competing states."""
        network, plan = self._network, self._training
        deep = energy_layers(network, network.visible(pixels), plan.beta, plan.lam, self._errors)
        if free:
            states, right = deep.competing_states(labels, _COMPETITORS), torch.zeros_like(labels)
        else:
            states, right = deep.single_states, labels
        scores = deep.scores(states, free=free)
        best = states.expand(len(scores), -1, -1)[torch.arange(len(scores)), scores.detach().argmax(dim=1)]
        margin = fn.one_hot(right, scores.shape[1]) * plan.margin
        return self._mean_loss(scores - margin, right, labels), best.argmax(dim=1)

    def exceeds_bound(self) -> bool:
        """Return whether `clamp_weights` would change the trained part of Q."""
        with torch.no_grad():
            return any(bool((value.abs() > self._bound).any()) for value in self._bounded_weights)

    @property
    def _bound(self) -> float:
        return self._training.weight_bound * self._network.architecture.alpha

    @property
    def _bounded_weights(self) -> list[Tensor]:
        hidden = self._network.energy.named_parameters() if self._is_deep else ()
        return [
            self._network.classes.weight,
            *(value for name, value in hidden if name.endswith("weight")),
        ]

    def rate_share(self, progress: float) -> float:
        """Return the share of the learning rate at ``progress``, 0 to 1.

        It rises and falls once, and once more, half as high, while visible units are free.
        """
        free = self._training.free if self._is_deep else 0.0
        if progress < 1.0 - free:
            return _rate_schedule(progress / (1.0 - free))
        return 0.5 * _rate_schedule((progress - (1.0 - free)) / free)

    def clamp_weights(self) -> None:
        """Clamp the trained part of Q to the weight bound, so that Q has a sensible range.

        That is the couplings to the class units, and with hidden units all couplings.
        """
        if self._transfer != "energy":
            return
        network = self._network
        with torch.no_grad():
            for value in self._bounded_weights:
                value.clamp_(-self._bound, self._bound)
            if network.tone is not None:
                network.tone.threshold.clamp_(_LOWEST, 1.0 - _LOWEST)


def _rate_schedule(progress: float) -> float:
    """Return a linear rise over the first tenth, then half a cosine down to 0."""
    warm = 0.1
    if progress < warm:
        return 0.1 + 0.9 * progress / warm
    return 0.5 * (1 + math.cos(math.pi * (progress - warm) / (1 - warm)))


def class_scores(network: NetworkModule, pixels: Tensor, transfer: str, without: Names = ()) -> Tensor:
    """Return the own scores (B, K) of ``network`` for ``pixels`` (B, 1, h, w) in [0, 1].

    They are logits (``transfer`` is ``paper``) or -beta F of one-hot states (``energy``). With hidden units
    they are -F, not -beta F, see `deep.py`; visible units are free, as in sampling. Sources ``without`` which
    the network does have features 0.
    """
    check_transfer(transfer)
    if transfer == "paper":
        return network.logits(pixels, without)
    return feature_scores(network, network.visible(pixels, without), transfer)


def feature_scores(network: NetworkModule, features: Tensor, transfer: str) -> Tensor:
    """Return `class_scores` (B, K) of ``features`` (B, nv), as `NetworkModule.visible` returns them."""
    if transfer == "paper":
        return network.value_logits((features / network.architecture.alpha + 1.0) / 2.0)
    plan, classes = network.architecture.training, network.architecture.classes
    if network.architecture.form == "deep":
        deep = energy_layers(network, features, plan.beta, plan.lam)
        return deep.scores(deep.single_states, free=True)
    head = energy_head(network, features, plan.beta, plan.lam)
    return head.scores(torch.eye(classes, dtype=features.dtype, device=features.device), plan.beta, plan.lam)


def scores_of_features(
    network: NetworkModule, features: NDArray[np.float64], transfer: str
) -> NDArray[np.float64]:
    """Return `class_scores` (B, K) float64 of ``features`` (B, nv), which are many, block by block."""
    block = block_size(network.architecture)
    out = np.empty((len(features), network.architecture.classes))
    with torch.no_grad():
        for start in range(0, len(features), block):
            part = torch.from_numpy(features[start : start + block]).float()
            out[start : start + block] = feature_scores(network, part, transfer).numpy()
    return out
