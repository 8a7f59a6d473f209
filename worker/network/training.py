"""Trains a network on labelled images: with a seed, metrics of each epoch, and early stopping."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from schema.errors import ImageError, NetworkError
from schema.network.architecture import FOLDED_LAM, THRESHOLD, Architecture
from schema.network.temperature import Temperature
from worker.network.deep import initialise_weights
from worker.network.epoch_choice import EpochChoice, image_weights, is_unbalanced
from worker.network.features import check_images, restore
from worker.network.inference import scores
from worker.network.layers import NetworkModule
from worker.network.objective import Objective, class_scores
from worker.network.temperature import fit_temperature
from worker.network.transfer import check_transfer

Stopped = Literal["epochs", "patience", "asked"]
MAX_SEED = 2**63 - 1
# Enough images to tell epochs apart, few enough not to slow them down.
_EVALUATED = 10_000


@dataclass(frozen=True)
class Epoch:
    """Metrics of one epoch, counted from 1; accuracies in [0, 1].

    Those of validation are None if no images are held out.
    """

    epoch: int
    epochs: int
    loss: float
    train_accuracy: float
    validation_accuracy: float | None
    validation_loss: float | None
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return the metrics as plain JSON."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Trained:
    """The result of training.

    Attributes:
        weights: float32 arrays by name, those of the best epoch.
        metrics: of each epoch that was run.
        best_epoch: counted from 1; see `epoch_choice.py`.
        stopped: because all epochs were run, because of no improvement for ``patience`` epochs, or because
            the caller asked for it.
        transfer: ``paper`` or ``energy``.
        seed: of all random choices.
        seconds: wall clock.
        temperature: that makes probabilities of the class scores; None: too few images are wrong to fit it.
    """

    weights: dict[str, NDArray[np.float32]]
    metrics: tuple[Epoch, ...]
    best_epoch: int
    stopped: Stopped
    transfer: str
    seed: int
    seconds: float
    temperature: Temperature | None

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the weights, as plain JSON."""
        return {
            "transfer": self.transfer,
            "seed": self.seed,
            "best_epoch": self.best_epoch,
            "stopped": self.stopped,
            "seconds": self.seconds,
            "temperature": None if self.temperature is None else self.temperature.to_dict(),
            "epochs": [metrics.to_dict() for metrics in self.metrics],
        }


@dataclass(frozen=True, eq=False)
class _Data:
    """Pixels (N, 1, h, w) float32 in [0, 1] and labels (N,) int64."""

    pixels: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


def train(
    architecture: Architecture,
    images: NDArray[np.uint8],
    labels: NDArray[np.integer[Any]],
    transfer: str = "energy",
    *,
    epochs: int | None = None,
    seed: int = 0,
    on_epoch: Callable[[Epoch], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Trained:
    """Train a network on labelled images.

    The same seed, data, torch version and number of threads give the same weights.

    Args:
        architecture: layers, sizes and options of the training.
        images: (N, H, W) uint8.
        labels: (N,) integers in [0, classes).
        transfer: ``energy`` trains through the energy that is sampled, ``paper`` with softmax cross-entropy.
        epochs: instead of those of the architecture.
        seed: of weights, splits, order and noise.
        on_epoch: called with the metrics after each epoch.
        should_stop: asked before each batch; if it returns True, the best weights so far are returned.

    Raises:
        ImageError: images or labels do not fit the architecture.
        NetworkError: an unknown transfer, or training diverged.
    """
    check_transfer(transfer)
    check_images(architecture, images)
    _check_labels(architecture, labels, len(images))
    if not 0 <= seed <= MAX_SEED:
        raise NetworkError(f"seed must be from 0 to {MAX_SEED}, not {seed}")
    plan = architecture.training if epochs is None else architecture.training.replace(epochs=epochs)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        training_run = _TrainingRun(architecture.replace(training=plan), transfer, images, labels, seed)
        stopped = training_run.run(on_epoch, should_stop)
        temperature = training_run.fit_temperature()
    weights = training_run.best_weights
    if transfer == "paper":
        weights[FOLDED_LAM] = _folded_lam(architecture, weights, images)
    return Trained(
        weights,
        tuple(training_run.metrics),
        training_run.best_epoch,
        stopped,
        transfer,
        seed,
        training_run.seconds,
        temperature,
    )


class _TrainingRun:
    """One training: its network, its data, and the best weights so far."""

    def __init__(
        self,
        architecture: Architecture,
        transfer: str,
        images: NDArray[np.uint8],
        labels: NDArray[np.integer[Any]],
        seed: int,
    ) -> None:
        self.plan = architecture.training
        self.network = _start(architecture, transfer)
        self.objective = Objective(self.network, self.plan, transfer)
        self.transfer = transfer
        self.train, self.validation = self._split(images, labels, seed)
        self.choice = self._new_choice()
        self.metrics: list[Epoch] = []
        self.best_epoch = 0
        self.best_weights: dict[str, NDArray[np.float32]] = {}
        self.seconds = 0.0
        self._optimiser = torch.optim.AdamW(
            _parameter_groups(self.network), lr=self.plan.learning_rate, weight_decay=self.plan.weight_decay
        )

    def run(
        self, on_epoch: Callable[[Epoch], None] | None, should_stop: Callable[[], bool] | None
    ) -> Stopped:
        """Train until all epochs are run, nothing improves, or the caller asks to stop."""
        is_stopped = should_stop or (lambda: False)
        for epoch in range(1, self.plan.epochs + 1):
            start = time.perf_counter()
            totals = self._run_epoch(epoch, is_stopped)
            if totals is None:
                self._store_best(max(1, epoch - 1), only_if_none=True)
                return "asked"
            self._measure(epoch, totals, start)
            if on_epoch:
                on_epoch(self.metrics[-1])
            if epoch - self.best_epoch >= self.plan.patience:
                return "patience"
        return "epochs"

    def _new_choice(self) -> EpochChoice:
        """Return the choice of an epoch by the images that each is measured on.

        If classes are unbalanced, it is by balanced accuracy.
        """
        labels = (self.validation or self.train).labels[:_EVALUATED].numpy()
        weights = image_weights(labels, balanced=is_unbalanced(self.train.labels.numpy()))
        return EpochChoice(weights, sampled=self.validation is not None)

    def _split(
        self, images: NDArray[np.uint8], labels: NDArray[np.integer[Any]], seed: int
    ) -> tuple[_Data, _Data | None]:
        order = np.random.default_rng(seed).permutation(len(images))
        held_out = int(len(images) * self.plan.validation)
        train = self._data(images[order[held_out:]], labels[order[held_out:]], flips=self.plan.flips)
        return train, self._data(
            images[order[:held_out]], labels[order[:held_out]], flips=False
        ) if held_out else None

    def _data(self, images: NDArray[np.uint8], labels: NDArray[np.integer[Any]], *, flips: bool) -> _Data:
        if flips:
            images, labels = join_flips(images, labels, self.network.architecture.input.image_max)
        pixels = self.network.pixels(torch.from_numpy(np.ascontiguousarray(images)))
        return _Data(pixels, torch.from_numpy(labels.astype(np.int64)))

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
            pixels = move_images(self.train.pixels[index], self.plan.shift)
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

    def _measure(self, epoch: int, totals: tuple[float, float], start: float) -> None:
        # The training loss cannot be compared between epochs: it grows with beta.
        data = self.validation or self.train
        outcome, labels = self._scores(self.network.eval(), data), data.labels[:_EVALUATED]
        loss = float(torch.nn.functional.cross_entropy(outcome, labels))
        right = outcome.argmax(dim=1) == labels
        if self.choice.offer(epoch, right.numpy(), loss):
            self._store_best(epoch)
        accuracy = float(right.float().mean())
        measured: tuple[float | None, float | None] = (accuracy, loss) if self.validation else (None, None)
        seconds = time.perf_counter() - start
        self.seconds += seconds
        self.metrics.append(Epoch(epoch, self.plan.epochs, *totals, *measured, seconds))

    def fit_temperature(self) -> Temperature | None:
        """Fit the temperature of the best weights on the images held out, or else on those trained on."""
        data = self.validation or self.train
        outcome = self._scores(restore(self.network.architecture, self.best_weights), data)
        labels = data.labels[:_EVALUATED].numpy()
        return fit_temperature(outcome.double().numpy(), labels, held_out=data is self.validation)

    def _scores(self, network: NetworkModule, data: _Data) -> Tensor:
        """Return the own scores (N, K) by ``network`` of the first images of ``data``."""
        with torch.no_grad():
            parts = torch.split(data.pixels[:_EVALUATED], 1024)
            return torch.cat([class_scores(network, part, self.transfer) for part in parts])

    def _store_best(self, epoch: int, *, only_if_none: bool = False) -> None:
        if only_if_none and self.best_weights:
            return
        self.best_epoch = epoch
        self.best_weights = {name: value.numpy() for name, value in self.network.folded().items()}


def move_images(pixels: Tensor, most: int) -> Tensor:
    """Move, turn, shear and stretch each of ``pixels`` (B, 1, h, w) a little, with zeros from outside.

    Half of ``most`` pixels comes from moving, half from the linear map: the middle of no edge moves by more
    than ``most`` pixels along either axis.
    """
    if not most:
        return pixels
    count, _, height, width = pixels.shape
    # grid_sample measures from -1 to 1 across the image: a pixel is 2 / side.
    reach = torch.tensor([most / width, most / height]).reshape(1, 2, 1)
    theta = reach * (2.0 * torch.rand(count, 2, 3) - 1.0)
    theta[:, :, :2] += torch.eye(2)
    grid = torch.nn.functional.affine_grid(theta, [count, 1, height, width], align_corners=False)
    return torch.nn.functional.grid_sample(pixels, grid, align_corners=False)


def join_flips(
    images: NDArray[np.uint8], labels: NDArray[np.integer[Any]], image_max: int
) -> tuple[NDArray[np.uint8], NDArray[np.integer[Any]]]:
    """Return images followed by all their one-pixel flips (N H W, H, W), with labels.

    Args:
        images: (N, H, W) uint8.
        labels: (N,).
        image_max: largest value; a flipped pixel p becomes image_max - p.

    Examples:
        >>> images, labels = join_flips(np.array([[[0, 1]]], dtype=np.uint8), np.array([7]), image_max=1)
        >>> images.tolist(), labels.tolist()
        ([[[0, 1]], [[1, 1]], [[0, 0]]], [7, 7, 7])
    """
    count, height, width = images.shape
    flat = images.reshape(count, 1, -1)
    flips = np.where(np.eye(height * width, dtype=np.bool_), image_max - flat, flat).astype(np.uint8)
    joined = np.concatenate((images, flips.reshape(-1, height, width)))
    return joined, np.concatenate((labels, labels.repeat(height * width)))


def _start(architecture: Architecture, transfer: str) -> NetworkModule:
    """Return an untrained network; with hidden units on pixels it learns a threshold, too."""
    if transfer != "energy" or architecture.form != "deep":
        return NetworkModule(architecture, normalise=True)
    threshold = None if architecture.features else architecture.training.threshold
    network = NetworkModule(architecture, normalise=True, threshold=threshold)
    initialise_weights(network)
    return network


def _parameter_groups(network: NetworkModule) -> list[dict[str, Any]]:
    """Return the parameters and their share of the learning rate."""
    named = dict(network.named_parameters())
    threshold = named.pop(THRESHOLD, None)
    groups: list[dict[str, Any]] = [{"params": list(named.values()), "share": 1.0}]
    # The threshold learns slowly: all pixels of all images change this one value.
    return groups if threshold is None else [*groups, {"params": [threshold], "share": 0.05}]


def _check_labels(architecture: Architecture, labels: NDArray[np.integer[Any]], count: int) -> None:
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


def _folded_lam(
    architecture: Architecture, weights: dict[str, NDArray[np.float32]], images: NDArray[np.uint8]
) -> NDArray[np.float32]:
    """Return half of the largest |x W| over the training images: enough to turn off a second class."""
    largest = np.abs(scores(architecture, weights, images, "paper")).max()
    return np.array([0.5 * largest], dtype=np.float32)
