"""What the labels of a training set are worth: classes without images, and labels that seem to be wrong."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating]
Labels = NDArray[np.integer]

_LISTED = 10
_LEAST_RIGHT = 5  # images of a class that say how certain the network is of it


@dataclass(frozen=True)
class DisputedLabel:
    """An image of the training set whose label the network disputes.

    Attributes:
        image: number in the training set, from 0.
        label: that it has.
        predicted: class that the network finds.
        certainty: lead of that class over the label, as a multiple of the median lead of the images of that
            class that the network has right.
    """

    image: int
    label: int
    predicted: int
    certainty: float


@dataclass(frozen=True)
class LabelCheck:
    """What is to be said about the labels of a training set.

    Attributes:
        images: of the training set.
        missing: classes without an image that was trained on.
        missing_held_out: further classes without an image that was held out; empty if none was.
        disputed: number of images whose label the network disputes.
        worst: up to 10 of them, the most certain first.
    """

    images: int
    missing: tuple[int, ...]
    missing_held_out: tuple[int, ...]
    disputed: int
    worst: tuple[DisputedLabel, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        return {**asdict(self), "worst": [asdict(image) for image in self.worst]}


def missing_classes(labels: Labels, classes: int) -> tuple[int, ...]:
    """Return those of the ``classes`` that have no image with ``labels`` (N,)."""
    return tuple(np.flatnonzero(np.bincount(labels, minlength=classes) == 0).tolist())


def disputed_labels(scores: FloatArray, labels: Labels) -> list[DisputedLabel]:
    """Return the images whose label the network disputes, the most certain first.

    It disputes a label if another class leads over it by more than half of the images of that class lead that
    the network has right: then the image looks like a typical one of the other class. These class thresholds
    are those of confident learning (Northcutt et al. 2021, arXiv 1911.00068), with leads in place of
    probabilities, so that they do not depend on how well these are calibrated.

    Args:
        scores: (N, K), the network's own class scores of the images that it was trained on or that were held
            out.
        labels: (N,).
    """
    rows, predicted = np.arange(len(labels)), scores.argmax(axis=1)
    is_right = predicted == labels
    thresholds = _median_leads(scores, predicted, is_right)
    leads = scores[rows, predicted] - scores[rows, labels]
    certainty = leads / thresholds[predicted]
    found = np.flatnonzero(~is_right & (certainty >= 1.0))
    found = found[np.argsort(-certainty[found], kind="stable")]
    return [
        DisputedLabel(int(k), int(labels[k]), int(predicted[k]), round(float(certainty[k]), 3)) for k in found
    ]


def _median_leads(scores: FloatArray, predicted: Labels, is_right: NDArray[np.bool_]) -> FloatArray:
    """Return for each class the median lead (K,) over the second class; inf where too few are right."""
    best = np.partition(scores, -2, axis=1)[:, -2:]
    leads = best[:, 1] - best[:, 0]
    medians = np.full(scores.shape[1], np.inf)
    for k in range(scores.shape[1]):
        of_class = leads[is_right & (predicted == k)]
        if len(of_class) >= _LEAST_RIGHT:
            medians[k] = max(float(np.median(of_class)), np.finfo(np.float32).tiny)
    return medians


def check_labels(
    scores: FloatArray, labels: Labels, trained_on: Labels, held_out: Labels | None
) -> LabelCheck:
    """Return what is to be said about ``labels`` (N,) of images with own class ``scores`` (N, K).

    ``trained_on`` (T,) and ``held_out`` (V,) are the labels of the two parts; None: nothing is held out.
    """
    classes = scores.shape[1]
    missing = missing_classes(trained_on, classes)
    disputed = disputed_labels(scores, labels)
    return LabelCheck(
        images=len(labels),
        missing=missing,
        missing_held_out=()
        if held_out is None
        else tuple(k for k in missing_classes(held_out, classes) if k not in missing),
        disputed=len(disputed),
        worst=tuple(disputed[:_LISTED]),
    )
