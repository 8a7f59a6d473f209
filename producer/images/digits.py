"""Reads scikit-learn's digits."""

from __future__ import annotations

import numpy as np

from producer.images.imageset import ImageSet
from schema.errors import ImageError


def read_digits() -> ImageSet:
    """Return 1,797 images of 8 x 8 pixels with their original values 0..16; classes 0 to 9.

    Source: scikit-learn's ``load_digits``, the test set of UCI's "Optical Recognition of Handwritten Digits".

    Raises:
        ImageError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImageError(
            "digits needs scikit-learn, which is not installed: pip install 'annealq[datasets]'"
        ) from error
    bunch = load_digits()
    return ImageSet(
        name="digits",
        images=np.asarray(bunch.images).astype(np.uint8),
        labels=np.asarray(bunch.target).astype(np.int64),
        classes=tuple(str(name) for name in bunch.target_names),
        sources=None,
    )
