"""What a training gives: metrics of each epoch, weights, and what can be said about its labels."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from schema.network.source_table import SourceTable
from schema.network.temperature import Temperature
from worker.network.quality import Quality
from worker.network.training.label_check import LabelCheck

Stopped = Literal["epochs", "patience", "asked"]


@dataclass(frozen=True)
class Epoch:
    """Metrics of one epoch of ``epochs``, counted from 1; accuracies in [0, 1].

    Those of validation are None if no images are held out, and the balanced accuracy also if the classes are
    balanced. A ``refit`` on all images follows the training before, and counts its epochs from 1 again.
    """

    epoch: int
    epochs: int
    loss: float
    train_accuracy: float
    validation_accuracy: float | None
    validation_loss: float | None
    seconds: float
    validation_balanced_accuracy: float | None = None
    refit: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return the metrics as plain JSON."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Trained:
    """The result of training.

    Attributes:
        weights: float32 arrays by name, those of the best epoch.
        metrics: of each epoch that was run; those on all images, if any, follow the others.
        best_epoch: counted from 1, among those before any on all images; see `epoch_choice.py`.
        stopped: because all epochs were run, because of no improvement for ``patience`` epochs, or because
            the caller asked for it.
        transfer: ``paper`` or ``energy``.
        seed: of all random choices.
        seconds: wall clock.
        temperature: that makes probabilities of the class scores; None: too few images are wrong to fit it.
        losses: of the probabilities at this temperature, on the images of ``quality``; None: there are none.
        quality: of the own classes at the best epoch, on the images held out, or else on those trained on.
        label_check: classes without images, and labels that the network disputes.
        refit: whether the weights are those of a training on all images, with the figures of one before.
        sources: what each source adds, on the images of ``quality``; None: the network has none.
    """

    weights: dict[str, NDArray[np.float32]]
    metrics: tuple[Epoch, ...]
    best_epoch: int
    stopped: Stopped
    transfer: str
    seed: int
    seconds: float
    temperature: Temperature | None
    losses: dict[str, Any] | None
    quality: Quality
    label_check: LabelCheck
    refit: bool = False
    sources: SourceTable | None = None

    def refitted(self, again: Trained) -> Trained:
        """Return this result with the weights that were trained ``again``, on all images.

        What the labels are worth is told by the first training, too: the second one has learnt all of them.
        """
        seconds = self.seconds + again.seconds
        return replace(self, weights=again.weights, metrics=again.metrics, seconds=seconds, refit=True)

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the weights, as plain JSON."""
        return {
            "transfer": self.transfer,
            "seed": self.seed,
            "best_epoch": self.best_epoch,
            "stopped": self.stopped,
            "seconds": self.seconds,
            "temperature": None if self.temperature is None else self.temperature.to_dict(),
            "losses": self.losses,
            "quality": asdict(self.quality),
            "refit": self.refit,
            "label_check": self.label_check.to_dict(),
            **({} if self.sources is None else {"sources": self.sources.to_dict()}),
            "epochs": [metrics.to_dict() for metrics in self.metrics],
        }
