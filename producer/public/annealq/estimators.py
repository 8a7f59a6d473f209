"""A classifier of vectors for scikit-learn, trained by annealq and read by any of its solvers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from annealq.extras import require_libraries
from annealq.networks import Network
from annealq.queues import Queue
from producer.client import Client
from producer.images.imageset import ImageSet
from producer.networks import starter
from producer.networks.bundle import Bundle
from producer.networks.description import describe
from schema.errors import ParameterError
from schema.network import weights as encoding
from schema.network.architecture import Architecture
from schema.quantities import count_text
from worker.network import training
from worker.network.features import restore
from worker.network.objective import feature_scores
from worker.network.temperature import probabilities

FloatArray = NDArray[np.float64]

_STEPS = 600  # of the optimiser, without decay; chosen with the learning rate, see docs/sklearn.md
_MAX_SEED = 2**31 - 1
_MAX_NAME = 255  # characters of the name of a class
_QUEUE = "queue"


class AnnealqClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Classifier of vectors whose classes are read by an annealer, or computed from the same energy.

    Layers and training are those that `annealq networks new` writes for vectors, with another learning rate,
    decay and number of epochs: a dense layer with tanh gives visible units, to which class units are coupled.
    Each value is standardised.

    Args:
        visible_units: number of visible units.
        hidden_units: number of hidden units between visible and class units; 0: none.
        epochs: passes over the samples; None: 600 steps' worth, 6 to 100.
        learning_rate: of the optimiser.
        weight_decay: of the optimiser, for the weights of the dense layer; see `dense_decay` of a training.
        class_weight: "balanced": samples of rare classes count more, up to ten times; a dictionary of weights
            by label, 1 where it has none; None: all are alike.
        random_state: seed or generator of all random choices of training and reads; None: another one in each
            fit.
        solver: None: classes by the network alone, without an annealer. "local" or "exact": reads in this
            process. With a ``service``, any of its solvers: local, exact, emulator, dwave.
        service: None: this process. "queue": the queue of this machine, see `Queue`. Else the URL of
            `annealq serve`; its key, of scope admin, is $ANNEALQ_KEY, and is not stored.
        reads: of each sample, where an annealer reads.
        visible: "sampled", or "folded" into biases, where an annealer reads.

    Attributes:
        classes_: (K,), the labels.
        network_: the trained `Network`, which can be saved.
        n_features_in_: number of values of a vector.
        feature_names_in_: their names, if ``X`` had any.

    Examples:
        >>> from sklearn.datasets import load_iris
        >>> X, y = load_iris(return_X_y=True)
        >>> classifier = AnnealqClassifier(epochs=20, random_state=0).fit(X, y)
        >>> classifier.score(X, y) > 0.9
        True
        >>> classifier.set_params(solver="exact", reads=50).score(X, y) > 0.9
        True
    """

    classes_: NDArray[Any]
    network_: Network
    n_features_in_: int

    def __init__(
        self,
        *,
        visible_units: int = starter.VISIBLE_OF_VECTORS,
        hidden_units: int = 0,
        epochs: int | None = None,
        learning_rate: float = 0.01,
        weight_decay: float = 0.0,
        class_weight: Literal["balanced"] | Mapping[Any, float] | None = None,
        random_state: int | np.random.RandomState | None = None,
        solver: Literal["local", "exact", "emulator", "dwave"] | None = None,
        service: str | None = None,
        reads: int = 100,
        visible: Literal["sampled", "folded"] = "sampled",
    ) -> None:
        self.visible_units = visible_units
        self.hidden_units = hidden_units
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.class_weight = class_weight
        self.random_state = random_state
        self.solver = solver
        self.service = service
        self.reads = reads
        self.visible = visible

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Train on vectors ``X`` (N, D) with labels ``y`` (N,) of two classes or more, and return this.

        Raises:
            ValueError: vectors or labels cannot be used.
            NetworkError: a parameter is out of range.
        """
        vectors, given = validate_data(self, X, y, dtype=np.float32, order="C")
        check_classification_targets(given)
        self.classes_, labels = np.unique(given, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"the labels have {count_text(len(self.classes_), 'class')}: give samples of two or more"
            )
        if isinstance(self.class_weight, str) and self.class_weight != "balanced":
            raise ParameterError(
                f"class_weight {self.class_weight!r} is not known: give 'balanced', a dictionary or None"
            )
        self._seed = int(check_random_state(self.random_state).randint(_MAX_SEED))
        architecture = self._architecture(vectors, labels)
        trained = training.train(
            architecture, vectors, labels, seed=self._seed, class_weights=self._class_weights()
        )
        data = encoding.encode(trained.weights, architecture)
        metrics = None if trained.temperature is None else {"temperature": trained.temperature.to_dict()}
        named = architecture.replace(name=f"classifier-{encoding.digest(data)[:12]}")
        described = describe(named, _names(self.classes_), metrics=metrics, seed=self._seed)
        self.network_ = Network(Bundle(described, data))
        return self

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Return the label (B,) of each of the vectors ``X`` (B, D)."""
        best = self.predict_proba(X).argmax(axis=1)
        return np.asarray(self.classes_[best])

    def predict_proba(self, X: ArrayLike) -> FloatArray:
        """Return the probability (B, K) of each of `classes_` for the vectors ``X`` (B, D).

        Without a solver it is calibrated, where enough samples were wrong to fit a temperature. With one it
        is the share of the consensus class scores; where no class was read, the former.
        """
        taken = self._taken(X)
        own = probabilities(self._own_scores(taken), self.network_.temperature)
        if self.solver is None and self.service is None:
            return own
        scores = self._read_scores(taken)
        sums = scores.sum(axis=1, keepdims=True)
        return np.where(sums > 0.0, scores / np.where(sums > 0.0, sums, 1.0), own)

    def decision_function(self, X: ArrayLike) -> FloatArray:
        """Return the score (B, K) of each of `classes_` for the vectors ``X`` (B, D).

        With two labels it is the second score less the first, (B,). Without a solver scores are minus free
        energies, times the inverse temperature of the training; with one they are those of `predict_proba`.
        """
        if self.solver is None and self.service is None:
            scores = self._own_scores(self._taken(X))
        else:
            scores = self.predict_proba(X)
        return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores

    def _architecture(self, X: NDArray[np.float32], labels: NDArray[np.int64]) -> Architecture:
        text = starter.starter_text(ImageSet("vectors", X, labels, None, None), "classifier")
        found = starter.architecture_of(text)
        batch, count = found.training.batch_size, len(X)
        epochs = starter.epochs_of(_STEPS, batch, count) if self.epochs is None else self.epochs
        plan = found.training.replace(
            epochs=epochs,
            patience=max(epochs, 1),  # all epochs: the few samples held out do not tell when to stop
            learning_rate=float(self.learning_rate),
            dense_decay=float(self.weight_decay),
            class_weights="balanced" if self.class_weight == "balanced" else "equal",
        )
        hidden = [{"kind": "dense", "units": self.hidden_units}] if self.hidden_units else []
        dense = [{"kind": "dense", "units": self.visible_units, "activation": "tanh"}]
        return found.replace(features=dense, energy=hidden, training=plan)

    def _class_weights(self) -> NDArray[np.float32] | None:
        """Return the weights (K,) of `class_weight`; None: training makes them, or has none."""
        if self.class_weight is None or isinstance(self.class_weight, str):
            return None
        made = compute_class_weight(dict(self.class_weight), classes=self.classes_, y=self.classes_)
        return np.asarray(made, np.float32)

    def _taken(self, X: ArrayLike) -> NDArray[np.float32]:
        check_is_fitted(self)
        return np.asarray(validate_data(self, X, dtype=np.float32, order="C", reset=False))

    def _own_scores(self, X: NDArray[np.float32]) -> FloatArray:
        """Return the class scores (B, K) of the network alone.

        They are computed in float64: in float32 the scores of a vector would depend, in their last digits, on
        the vectors next to it.
        """
        trained = self.network_._trained
        module = restore(trained.architecture, trained.weights).double()
        with torch.no_grad():
            visible = module.visible(torch.from_numpy(X.astype(np.float64)))
            return np.asarray(feature_scores(module, visible, trained.transfer).numpy())

    def _read_scores(self, X: NDArray[np.float32]) -> FloatArray:
        """Return consensus class scores (B, K) by the solver."""
        solver: Any = self.solver or "local"
        if self.service is None:
            reads = self.network_.sample(
                X, solver=solver, reads=self.reads, seed=self._seed, visible=self.visible
            )
            return self.network_.read_scores(X, reads, visible=self.visible)
        options: dict[str, Any] = {
            "solver": solver, "reads": self.reads, "seed": self._seed, "visible": self.visible,
            "read_as": "vectors", "calibration": False,
        }  # fmt: skip
        if self.service == _QUEUE:
            with Queue() as queue:
                run = queue.submit(X, network=queue.add_network(self.network_), **options)
                queue.wait(run)
                return queue.result_arrays(run).scores
        require_libraries("Client")
        with Client(self.service) as client:
            run = client.submit(X, network=_send(client, self.network_), **options)
            client.wait(run)
            return client.result_arrays(run).scores


def _send(client: Client, network: Network) -> str:
    """Import ``network`` at a service, and return NAME@VERSION; the same content is there once."""
    found = network._bundle
    form = {"architecture": json.dumps(found.description.to_dict())}
    files = {"weights": ("weights.safetensors", found.data)}
    shown = client.ask("POST", "/v1/networks", is_idempotent=True, data=form, files=files)
    return f"{shown['name']}@{shown['version']}"


def _names(labels: NDArray[Any]) -> list[str] | None:
    """Return the names of the classes with these ``labels``; None: the network calls them by numbers."""
    names = [str(label) for label in labels]
    fits = all(name.isprintable() and 1 <= len(name) <= _MAX_NAME for name in names)
    return names if fits and len({*names}) == len(names) else None
