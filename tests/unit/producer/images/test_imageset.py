"""Sets of images: some of them are set apart."""

from __future__ import annotations

import numpy as np
import pytest

from producer.images.imageset import ImageSet
from schema.errors import ParameterError


def test_images_are_set_apart_by_a_seed() -> None:
    images = ImageSet("ten", np.arange(40, dtype=np.uint8).reshape(10, 2, 2), np.arange(10), None, None)
    known, unseen = images.split(3, seed=1)
    assert known.labels is not None
    assert unseen.labels is not None
    assert sorted([*known.labels.tolist(), *unseen.labels.tolist()]) == list(range(10))
    assert len(unseen.images) == 3
    assert unseen.images[:, 0, 0].tolist() == (4 * unseen.labels).tolist()
    for n in (0, 10, 11):
        with pytest.raises(ParameterError, match="cannot be set apart"):
            images.split(n, seed=1)
