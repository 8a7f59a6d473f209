"""A torch module that ends a user's own network with the energy that an annealer samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from annealq.networks import Network
from producer.networks.bundle import Bundle
from producer.networks.description import describe
from schema.errors import ParameterError
from schema.network import weights as encoding
from schema.network.architecture import Architecture
from worker.network import temperature
from worker.network.features import restore
from worker.network.layers import NetworkModule
from worker.network.objective import Objective, feature_scores
from worker.network.training import starting
from worker.network.training.samples import Samples
from worker.network.training.source_table import folded_lams


class EnergyHead(nn.Module):
    """Classifies feature vectors (B, D) of a user's own layers by the energy of binary units.

    A dense layer and tanh give the values of the visible units; the class units are coupled to them, or to
    hidden units between. Training maximises the probability of the right class state at inverse temperature
    ``beta`` (Larochelle and Bengio 2008, discriminative restricted Boltzmann machines), with errors on h and
    J and a margin, as `annealq networks train` does. Any optimiser trains the module, on any device.

    Args:
        features: D, values of a vector.
        classes: K, 2 or more.
        visible: number of visible units; None: one for each value of the vector, which is its tanh.
        hidden: number of hidden units between visible and class units; 0: none.
        alpha: range of the visible units' biases, [-alpha, alpha].
        beta: inverse temperature of the training.
        lam: one-hot penalty of the class units.
        margin: energy by which the right class must win.
        noise: standard deviation of errors on h and J in `loss`, as a fraction of their largest values.
        weight_bound: largest coupling, in units of alpha.
        class_weights: (K,) weights of samples of each class in the mean loss; None: all are alike.

    Raises:
        NetworkError: a value is out of range; the message names it.
        ParameterError: the class weights do not fit.

    Examples:
        >>> _ = torch.manual_seed(0)
        >>> x = torch.cat([torch.randn(50, 3) + 2.0, torch.randn(50, 3) - 2.0])
        >>> y = torch.arange(100) // 50
        >>> head = EnergyHead(3, 2, visible=8)
        >>> optimiser = torch.optim.Adam(head.parameters(), lr=0.05)
        >>> for step in range(50):
        ...     optimiser.zero_grad()
        ...     head.loss(x, y, progress=step / 50).backward()
        ...     _ = optimiser.step()
        >>> bool((head.predict(x) == y).float().mean() > 0.95)
        True
        >>> network = head.to_network("two", vectors=x)
        >>> bool((network.classify(x.numpy()) == head.predict(x).numpy()).all())
        True
    """

    def __init__(
        self,
        features: int,
        classes: int,
        *,
        visible: int | None = 20,
        hidden: int = 0,
        alpha: float = 1.0,
        beta: float = 4.0,
        lam: float = 2.0,
        margin: float = 2.0,
        noise: float = 0.02,
        weight_bound: float = 2.0,
        class_weights: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self._architecture = Architecture.from_dict(
            {
                "name": "head",
                "input": {"kind": "vector", "values": features},
                "classes": classes,
                "alpha": alpha,
                "features": [
                    {"kind": "dense", "units": features if visible is None else visible, "activation": "tanh"}
                ],
                "energy": [{"kind": "dense", "units": hidden}] if hidden else [],
                "training": {
                    "beta": float(beta),
                    "lam": float(lam),
                    "margin": float(margin),
                    "noise": float(noise),
                    "weight_bound": float(weight_bound),
                },
            }
        )
        self.network: NetworkModule = starting.start(self._architecture, "energy")
        if visible is None:
            self._squash_only(features)
        weights = _class_weights(class_weights, classes)
        self._objective = Objective(self.network, self._architecture.training, "energy", weights)

    def forward(self, x: Tensor) -> Tensor:
        """Return `class_scores` of ``x`` (B, D)."""
        return self.class_scores(x)

    def loss(self, x: Tensor, y: Tensor, *, progress: float = 1.0) -> Tensor:
        """Return the mean loss (scalar) of a batch, and keep couplings within their bound.

        Args:
            x: (B, D) float.
            y: (B,) int64, classes from 0.
            progress: share of the training that is done, 0 to 1: the inverse temperature grows with it from
                a quarter of beta. With hidden units the visible ones are free in the last fifth.

        Raises:
            ParameterError: a tensor has another shape or type.
        """
        if y.shape != x.shape[:1] or y.dtype != torch.int64:
            raise ParameterError(
                f"labels must be int64 ({len(x)},), not {y.dtype} {tuple(y.shape)}: use y.long()"
            )
        if self.training and self._objective.exceeds_bound():
            self._objective.clamp_weights()
        loss, _ = self._objective.loss(self._taken(x), y, progress=progress)
        return loss

    def class_scores(self, x: Tensor) -> Tensor:
        """Return the class scores (B, K) of ``x`` (B, D): minus free energies of the classes, times beta."""
        return feature_scores(self.network, self.network.visible(self._taken(x)), "energy")

    @torch.no_grad()
    def predict(self, x: Tensor) -> Tensor:
        """Return the class (B,) int64 with the highest score of ``x`` (B, D)."""
        return self.class_scores(x).argmax(dim=1)

    @torch.no_grad()
    def predict_proba(self, x: Tensor) -> Tensor:
        """Return the probabilities (B, K) of the classes of ``x`` (B, D): softmax of class scores."""
        return torch.softmax(self.class_scores(x), dim=1)

    def standardise(self, vectors: ArrayLike | Tensor) -> None:
        """Standardise each value of vectors from now on, by mean and deviation of ``vectors`` (N, D).

        For vectors that are not trained, such as those of a frozen network. The exported network holds it in
        its first layer. Call it before training; not with ``visible=None``.
        """
        self._refuse_squash_only()
        starting.standardise(self.network, self._samples(vectors))
        self.network.to(self.network.classes.weight.device)

    def to_network(
        self,
        name: str = "head",
        *,
        classes: Sequence[str] | None = None,
        vectors: ArrayLike | Tensor | None = None,
        labels: ArrayLike | Tensor | None = None,
    ) -> Network:
        """Return this head as a network, float32, which takes its vectors and gives the same class scores.

        Args:
            name: of the network.
            classes: names of the classes; None: their numbers.
            vectors: (N, D), those of training: the one-hot penalty of folded visible units is fitted to them;
                None: it is ``lam``.
            labels: (N,) of ``vectors`` that were not trained on: the temperature of probabilities is fitted
                to them, if enough are wrong; None: it is 1.

        Raises:
            NetworkError: a name cannot be used, or a weight is not finite.
            ParameterError: vectors or labels have another shape.
        """
        architecture = self._architecture.replace(name=name)
        folded = self.network.folded().items()
        weights = {part: value.detach().cpu().float().numpy() for part, value in folded}
        metrics: dict[str, Any] | None = None
        if vectors is not None:
            network, samples = restore(architecture, weights), self._samples(vectors, labels)
            if architecture.form == "head":
                weights |= folded_lams(network, "energy", samples)
            metrics = None if labels is None else _metrics(network, samples)
        elif labels is not None:
            raise ParameterError("labels were given without vectors: give the vectors that they belong to")
        described = describe(architecture, classes, metrics=metrics)
        return Network(Bundle(described, encoding.encode(weights, architecture)))

    def _taken(self, x: Tensor) -> Tensor:
        values = self._architecture.input.shape[0]
        if x.ndim != 2 or x.shape[1] != values:
            raise ParameterError(f"feature vectors must be (B, {values}), not {tuple(x.shape)}")
        return x.float()

    def _samples(self, vectors: ArrayLike | Tensor, labels: ArrayLike | Tensor | None = None) -> Samples:
        x = self._taken(torch.as_tensor(vectors).detach().cpu()).numpy()
        y = np.zeros(len(x), np.int64) if labels is None else torch.as_tensor(labels).cpu().numpy()
        if y.shape != x.shape[:1]:
            raise ParameterError(f"{len(x)} vectors need labels ({len(x)},), not {y.shape}")
        return Samples.of(x, y, np.arange(len(x)))

    def _squash_only(self, features: int) -> None:
        """Make the dense layer the identity, which is not trained."""
        state = {"features.0.weight": torch.eye(features), "features.0.bias": torch.zeros(features)}
        self.network.load_state_dict(state, strict=False)
        for parameter in self.network.features.parameters():
            parameter.requires_grad_(False)

    def _refuse_squash_only(self) -> None:
        if not all(parameter.requires_grad for parameter in self.network.features.parameters()):
            raise ParameterError(
                "a head with visible=None takes vectors as they are: standardise them before, or give a "
                "number of visible units"
            )


def _class_weights(weights: Sequence[float] | None, classes: int) -> NDArray[np.float32] | None:
    if weights is None:
        return None
    array = np.asarray(weights, np.float32)
    if array.shape != (classes,) or not (np.isfinite(array) & (array >= 0)).all():
        raise ParameterError(f"class weights must be {classes} numbers, 0 or above, not {weights!r:.80}")
    return array


def _metrics(network: NetworkModule, samples: Samples) -> dict[str, Any] | None:
    """Return the accuracy on ``samples``, which were held out, and the temperature fitted to them, if any."""
    with torch.no_grad():
        scores = torch.cat(
            [feature_scores(network, network.visible(part), "energy") for part in samples.batches(network)]
        )
    outcome, labels = scores.double().numpy(), samples.labels.numpy()
    fitted = temperature.fit_temperature(outcome, labels, held_out=True)
    accuracy = {"own_accuracy": float((outcome.argmax(axis=1) == labels).mean())}
    return accuracy | ({} if fitted is None else {"temperature": fitted.to_dict()})
