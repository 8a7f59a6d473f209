"""Trains a network on labelled images: with a seed, metrics of each epoch, and early stopping."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from schema.errors import ImageError, NetworkError
from schema.network.architecture import Architecture
from schema.network.layers import ImageInput
from schema.network.temperature import UNFITTED
from schema.shapes import InputArray
from worker.network import quality, temperature
from worker.network.features import check_images, restore
from worker.network.layers import Names, NetworkModule
from worker.network.objective import Objective, class_scores
from worker.network.training import starting
from worker.network.training.augmentation import join_flips, move_images
from worker.network.training.epoch_choice import EpochChoice, MeasuredEpoch
from worker.network.training.label_check import LabelCheck, check_labels
from worker.network.training.results import Epoch, Stopped, Trained
from worker.network.training.samples import Samples, split
from worker.network.training.source_table import folded_lams, source_table
from worker.network.transfer import check_transfer

MAX_SEED = 2**63 - 1
# Enough images to tell epochs apart, few enough not to slow them down.
_EVALUATED = 10_000


def train(
    architecture: Architecture,
    images: InputArray,
    labels: NDArray[np.integer[Any]],
    transfer: str = "energy",
    *,
    epochs: int | None = None,
    seed: int = 0,
    class_weights: NDArray[np.float32] | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Trained:
    """Train a network on labelled images.

    The same seed, data, torch version and number of threads give the same weights.

    Args:
        architecture: layers, sizes and options of the training.
        images: as the architecture takes them.
        labels: (N,) integers in [0, classes).
        transfer: ``energy`` trains through the energy that is sampled, ``paper`` with softmax cross-entropy.
        epochs: instead of those of the architecture.
        seed: of weights, splits, order and noise.
        class_weights: (K,), 0 or above, of images of each class; None: those of the architecture.
        on_epoch: called with the metrics after each epoch.
        should_stop: asked before each batch; if it returns True, the best weights so far are returned.

    Raises:
        ImageError: images or labels do not fit the architecture.
        NetworkError: an unknown transfer, or training diverged.
    """
    check_transfer(transfer)
    check_images(architecture, images)
    _refuse_labels(architecture, labels, len(images))
    if not 0 <= seed <= MAX_SEED:
        raise NetworkError(f"seed must be from 0 to {MAX_SEED}, not {seed}")
    plan = architecture.training if epochs is None else architecture.training.replace(epochs=epochs)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        architecture = architecture.replace(training=plan)
        training_run = _TrainingRun(architecture, transfer, images, labels, seed, class_weights)
        stopped = training_run.run(on_epoch, should_stop)
        trained = training_run.result(stopped)
        if not plan.refit or training_run.validation is None or stopped == "asked":
            return trained
        everything = architecture.replace(training=plan.replace(validation=0.0))
        again = _TrainingRun(everything, transfer, images, labels, seed, class_weights, trained.metrics)
        # At the end of the fall of the learning rate epochs are alike; patience ended before it.
        last_epoch = plan.epochs if stopped == "epochs" else trained.best_epoch
        if again.run(on_epoch, should_stop, last_epoch) == "asked":
            return replace(trained, stopped="asked")
        return trained.refitted(again.result(stopped))


class _TrainingRun:
    """One training: its network, its data, and the best weights so far."""

    def __init__(
        self,
        architecture: Architecture,
        transfer: str,
        images: InputArray,
        labels: NDArray[np.integer[Any]],
        seed: int,
        class_weights: NDArray[np.float32] | None = None,
        metrics: Sequence[Epoch] = (),
    ) -> None:
        self.plan = architecture.training
        self.transfer = transfer
        self.seed = seed
        self.images, self.labels = images, labels
        self.network = starting.start(architecture, transfer)
        places, held_out = split(labels, self.plan.validation, seed)
        self.given = Samples.of(images, labels, places)
        self.validation = Samples.of(images, labels, held_out) if len(held_out) else None
        self.train = self._join_flips() if self.plan.flips else self.given
        starting.standardise(self.network, self.given)
        weights = class_weights
        if weights is None and self.plan.class_weights == "balanced":
            weights = quality.class_weights(self.given.labels.numpy(), architecture.classes)
        self.objective = Objective(self.network, self.plan, transfer, weights)
        self.is_unbalanced = quality.is_unbalanced(labels)
        self.image_weights = quality.image_weights(
            self._evaluated.labels[:_EVALUATED].numpy(), balanced=self.is_unbalanced, given=class_weights
        )
        self.choice = EpochChoice(self.image_weights, sampled=self.validation is not None)
        self.metrics: list[Epoch] = list(metrics)  # those before this one, and those of this one
        self._is_refit = bool(metrics)
        self.best_epoch = 0
        self.best_weights: dict[str, NDArray[np.float32]] = {}
        self.seconds = 0.0
        self._optimiser = starting.optimiser(self.network, self.plan)

    @property
    def _evaluated(self) -> Samples:
        """Return the samples that an epoch is chosen by."""
        return self.validation or self.train

    def _join_flips(self) -> Samples:
        images, labels = self.images[self.given.places], self.labels[self.given.places]
        takes = self.network.architecture.input
        assert isinstance(takes, ImageInput)  # noqa: S101  (no architecture flips vectors)
        joined = join_flips(images, labels, takes.image_max)
        return Samples.of(*joined, np.arange(len(joined[0])))

    def run(
        self,
        on_epoch: Callable[[Epoch], None] | None,
        should_stop: Callable[[], bool] | None,
        last_epoch: int | None = None,
    ) -> Stopped:
        """Train until all epochs are run, nothing improves, or the caller asks to stop.

        With a ``last_epoch`` training ends with that one, and its weights are taken.
        """
        is_stopped = should_stop or (lambda: False)
        for epoch in range(1, (last_epoch or self.plan.epochs) + 1):
            start = time.perf_counter()
            totals = self._run_epoch(epoch, is_stopped)
            if totals is None:
                self._store_best(max(1, epoch - 1), only_if_none=True)
                return "asked"
            self._measure(epoch, totals, start, last_epoch or self.plan.epochs)
            if on_epoch:
                on_epoch(self.metrics[-1])
            if last_epoch is None and epoch - self.best_epoch >= self.plan.patience:
                return "patience"
        if last_epoch is not None:
            self._store_best(last_epoch)
        return "epochs"

    def _run_epoch(self, epoch: int, is_stopped: Callable[[], bool]) -> tuple[float, float] | None:
        """Return the mean loss and accuracy of one pass, or None if it was stopped."""
        self.network.train()
        steps = math.ceil(len(self.train) / self.plan.batch_size)
        order = torch.randperm(len(self.train))
        loss_sum, right = 0.0, 0
        for step, index in enumerate(torch.split(order, self.plan.batch_size)):
            if is_stopped():
                return None
            if len(index) < 2 and len(self.train) > 1:
                continue  # batch normalisation needs two images
            progress = (epoch - 1 + step / steps) / self.plan.epochs
            labels = self.train.labels[index]
            pixels = move_images(self.train.inputs(self.network, index.numpy()), self.plan.shift)
            loss, predicted = self._step(pixels, labels, progress)
            loss_sum += loss * len(index)
            right += int((predicted == labels).sum())
        return loss_sum / len(self.train), right / len(self.train)

    def _step(self, pixels: Tensor, labels: Tensor, progress: float) -> tuple[float, Tensor]:
        rate = self.plan.learning_rate * self.objective.rate_share(progress)
        for group in self._optimiser.param_groups:
            group["lr"] = rate * group["share"]
        self._optimiser.zero_grad(set_to_none=True)
        loss, predicted = self.objective.loss(pixels, labels, progress=progress)
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimiser.step()
        self.objective.clamp_weights()
        value = float(loss.detach())
        if not math.isfinite(value):
            raise NetworkError("training diverged: the loss is not finite; use a smaller learning_rate")
        return value, predicted

    def _measure(self, epoch: int, totals: tuple[float, float], start: float, epochs: int) -> None:
        outcome = self._scores(self.network.eval(), self._evaluated, _EVALUATED).double().numpy()
        labels = self._evaluated.labels[:_EVALUATED].numpy()
        right = outcome.argmax(axis=1) == labels
        # The scale of the scores grows with the weights: without a temperature late epochs seem worse.
        calibrated = temperature.losses(outcome, labels, temperature.best_temperature(outcome, labels))
        if self.choice.offer(MeasuredEpoch(epoch, right, calibrated)):
            self._store_best(epoch)
        # The training loss cannot be compared between epochs: it grows with beta.
        loss = temperature.mean_loss(outcome, labels, 1.0)
        seconds = time.perf_counter() - start
        self.seconds += seconds
        held_out: tuple[float | None, float | None] = (float(right.mean()), loss)
        is_held_out = self.validation is not None
        balanced = self.choice.accuracy(right) if is_held_out and self.is_unbalanced else None
        measured = held_out if is_held_out else (None, None)
        self.metrics.append(Epoch(epoch, epochs, *totals, *measured, seconds, balanced, self._is_refit))

    def _scores(
        self, network: NetworkModule, samples: Samples, most: int | None = None, without: Names = ()
    ) -> Tensor:
        """Return the own scores (N, K) by ``network`` of the first ``most`` of ``samples``; None: of all."""
        with torch.no_grad():
            parts = samples.batches(network, most)
            return torch.cat([class_scores(network, part, self.transfer, without) for part in parts])

    def _store_best(self, epoch: int, *, only_if_none: bool = False) -> None:
        if only_if_none and self.best_weights:
            return
        self.best_epoch = epoch
        self.best_weights = {name: value.numpy() for name, value in self.network.folded().items()}

    def result(self, stopped: Stopped) -> Trained:
        """Return the best weights, and what they make of the images."""
        architecture = self.network.architecture
        network = restore(architecture, self.best_weights)
        held_out, labels = self.validation is not None, self._evaluated.labels[:_EVALUATED].numpy()

        def scores(without: Names) -> NDArray[np.float64]:
            return self._scores(network, self._evaluated, _EVALUATED, without).double().numpy()

        outcome = scores(())
        if self.transfer == "paper" or architecture.form == "head":
            self.best_weights |= folded_lams(network, self.transfer, self.given)
        fitted = temperature.fit_temperature(outcome, labels, held_out=held_out)
        return Trained(
            self.best_weights,
            tuple(self.metrics),
            self.best_epoch,
            stopped,
            self.transfer,
            self.seed,
            self.seconds,
            fitted,
            temperature.losses_of(outcome, labels, UNFITTED if fitted is None else fitted.value),
            quality.quality(outcome, labels, held_out=held_out, unbalanced=self.is_unbalanced),
            self._check_labels(network),
            sources=source_table(architecture, scores, labels, held_out=held_out),
        )

    def _check_labels(self, network: NetworkModule) -> LabelCheck:
        everything = Samples.of(self.images, self.labels, np.arange(len(self.labels)))
        outcome = self._scores(network, everything).numpy()
        held_out = None if self.validation is None else self.validation.labels.numpy()
        return check_labels(outcome, self.labels, self.given.labels.numpy(), held_out)


def _refuse_labels(architecture: Architecture, labels: NDArray[np.integer[Any]], count: int) -> None:
    if labels.shape != (count,):
        raise ImageError(f"{count} images need labels ({count},), not {labels.shape}")
    if not np.issubdtype(labels.dtype, np.integer):
        raise ImageError(f"labels must be whole numbers, not {labels.dtype}")
    if count < 2:
        raise ImageError(f"training needs at least 2 images, not {count}")
    if labels.min() < 0 or labels.max() >= architecture.classes:
        raise ImageError(
            f"labels must be from 0 to {architecture.classes - 1}, not from {labels.min()} to {labels.max()}"
        )
