"""Reads scikit-learn's digits, from its file: importing scikit-learn takes a second and more."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from producer.images.imageset import ImageSet
from schema.errors import ImageError

_FILE = Path("datasets", "data", "digits.csv.gz")  # 64 pixels and a label in each line


def read_digits() -> ImageSet:
    """Return 1,797 images of 8 x 8 pixels with their original values 0..16; classes 0 to 9.

    Source: scikit-learn's ``load_digits``, the test set of UCI's "Optical Recognition of Handwritten Digits".

    Raises:
        ImageError: scikit-learn is not installed.
    """
    found = find_spec("sklearn")
    if found is None or found.origin is None:
        raise ImageError("digits needs scikit-learn, which is not installed: pip install 'annealq[datasets]'")
    path = Path(found.origin).parent / _FILE
    if not path.exists():
        raise ImageError(f"{path} is missing: install scikit-learn again")
    rows = np.loadtxt(path, dtype=np.uint8, delimiter=",")
    return ImageSet(
        name="digits",
        images=np.ascontiguousarray(rows[:, :-1]).reshape(-1, 8, 8),
        labels=rows[:, -1].astype(np.int64),
        classes=tuple(map(str, range(10))),
        sources=None,
    )
