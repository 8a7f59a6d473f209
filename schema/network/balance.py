"""Whether the classes of a set of images are balanced."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

# The largest class has this many times the images of the smallest one: accuracy says little of the latter.
UNBALANCED = 2.0
# Standard errors by which they must differ, if each image had any class with the same probability.
CHANCE = 4.0


def are_unbalanced(counts: NDArray[np.integer]) -> bool:
    """Return whether ``counts`` (K,), the images of each class, are very different, and not by chance.

    The largest must be `UNBALANCED` times the smallest, and their difference more than `CHANCE` times its
    standard error. Classes without images do not count.

    >>> are_unbalanced(np.array([40, 0, 10])), are_unbalanced(np.array([400, 201]))
    (True, False)
    >>> are_unbalanced(np.array([4, 1])), are_unbalanced(np.array([7]))
    (False, False)
    """
    present = counts[counts > 0]
    if not len(present):
        return False
    most, least = int(present.max()), int(present.min())
    return most >= UNBALANCED * least and most - least > CHANCE * math.sqrt(most + least)
