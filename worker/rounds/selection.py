"""Chooses the images of the next round, and shares them out to problems and batches. No I/O."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schema.parameters import Round

_ROUNDING = 1e-9  # of a share: 0.07 x 100 images are 7.000000000000001 in float64
_BATCHES = 4  # that several workers or QPUs can share, of two problems each at least


@dataclass(frozen=True, eq=False)
class Selection:
    """Images that are read again.

    Attributes:
        images: (n,) indices within the run, the most uncertain first.
        uncertain: how many of the run have no class, or an energy gap below the limit.
        filled: how many are not among those, or above the share: they fill the last problem.
        unpaid: how many more would have been read if the budget sufficed.
    """

    images: NDArray[np.int64]
    uncertain: int
    filled: int = 0
    unpaid: int = 0


def select_images(
    images: NDArray[np.int64],
    gaps: NDArray[np.float64],
    wanted: Round,
    of_run: int,
    tiles: int,
    affordable: int | None = None,
) -> Selection:
    """Return which of ``images`` are read again in the round ``wanted``.

    The last problem is filled up with the next most uncertain images, since it costs the same.

    Args:
        images: (N,) indices within the run.
        gaps: (N,) energy gaps: -inf without a class, inf where no other class has an energy.
        of_run: all images of the run, of which the round has a share.
        tiles: images in a full problem; 1 without qubits.
        affordable: problems that the budgets pay; None: any number.
    """
    uncertain = int(np.count_nonzero(gaps < wanted.gap))
    share = max(math.floor(wanted.share * of_run + _ROUNDING), 1)
    meant = min(uncertain, share)
    problems = -(-meant // tiles)
    paid = problems if affordable is None else min(problems, affordable)
    count = min(paid * tiles, len(images))
    order = np.lexsort((images, gaps))[:count]
    return Selection(images[order], uncertain, max(count - meant, 0), max(meant - count, 0))


def reached(gaps: NDArray[np.float64], is_read: NDArray[np.bool_], limit: float) -> float:
    """Return below which energy gap a round has read images: the smallest gap of those that it does not read.

    It is inf if it reads all images, and -inf if it was left out although some are below its limit.

    Args:
        gaps: (N,) energy gaps of the images, before the round.
        is_read: (N,) bool, images that it reads.
        limit: energy gap below which it would read all images.
    """
    smallest = float(gaps[~is_read].min(initial=np.inf))
    return -math.inf if smallest < limit and not is_read.any() else smallest


def arrange(images: int, tiles: int, earlier: Iterable[tuple[int, int]]) -> NDArray[np.intp]:
    """Return an order (images,) in which images lie on other tiles than before, wherever that is possible.

    Images change places within their problem only, of up to ``tiles`` images, which begins with tile 0.

    Args:
        images: number of images.
        tiles: of the embedding.
        earlier: image, and a tile that it lay on.

    >>> arrange(4, 2, [(0, 0), (2, 1)]).tolist()  # image 0 lay on tile 0
    [1, 0, 2, 3]
    """
    barred: dict[int, set[int]] = {}
    for image, tile in earlier:
        barred.setdefault(image, set()).add(tile)
    order = np.arange(images)
    for start in range(0, images, tiles):
        here = order[start : start + tiles]
        for tile in range(len(here)):
            if tile in barred.get(int(here[tile]), ()):
                others = (
                    other
                    for other in range(len(here))
                    if tile not in barred.get(int(here[other]), ())
                    and other not in barred.get(int(here[tile]), ())
                )
                if (other := next(others, None)) is not None:
                    here[[tile, other]] = here[[other, tile]]
    return order


def split(images: int, tiles: int, size: int) -> list[slice]:
    """Return the batches of ``images``: whole problems of ``tiles`` images, in batches of about ``size``.

    There are several, for several workers, if there are problems enough.

    >>> split(700, tiles=100, size=300)
    [slice(0, 300, None), slice(300, 600, None), slice(600, 700, None)]
    >>> split(150, tiles=100, size=300)
    [slice(0, 150, None)]
    """
    problems = -(-images // tiles)
    batches = max(-(-images // max(size, tiles)), min(problems // 2, _BATCHES), 1)
    step = -(-problems // batches) * tiles
    return [slice(start, min(start + step, images)) for start in range(0, images, step)]
