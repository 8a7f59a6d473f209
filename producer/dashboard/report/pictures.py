"""Images, and values of vectors, as PNG files inside of pages. A process stores those that it has drawn."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from threading import Lock

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from producer.dashboard.report import run_facts
from producer.dashboard.report.run_facts import Picture
from producer.exports.pictures import data_address, visible
from producer.runs import queries
from schema.quantities import count_text, number_text

_MAX_PICTURES = 20_000  # in memory, of a kilobyte or so each


_MOST_BARS = 64  # of a vector; the values that each stands for are averaged
_BAR_HEIGHT = 24
_PAPER, _INK, _AXIS = 255, 40, 190


def picture(pixels: NDArray[np.generic], white: int, source: str | None) -> Picture:
    """Return the image of ``pixels`` and ``white``, which `draw` takes, of the file ``source`` for a page."""
    vector = None
    if pixels.ndim == 1:
        low, high = (number_text(float(end), 4) for end in (pixels.min(), pixels.max()))
        vector = f"{count_text(len(pixels), 'value')} from {low} to {high}"
    return Picture(draw(pixels, white), source, vector)


def draw(pixels: NDArray[np.generic], white: int) -> str:
    """Return an image as the `data:` address of a PNG.

    Args:
        pixels: (H, W) or (H, W, 3) uint8, from 0 (black) to ``white``; or (D,), a vector, drawn as bars.
        white: largest value of a pixel.
    """
    return data_address(bars(pixels) if pixels.ndim == 1 else visible(pixels, white))


def bars(vector: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Return a grey picture of ``vector`` (D,): a bar for each value or several, up from 0 or down.

    The longest bar ends at an edge.
    """
    count = min(len(vector), _MOST_BARS)
    means = np.array([part.mean() for part in np.array_split(vector.astype(np.float64), count)])
    low, high = min(means.min(), 0.0), max(means.max(), 0.0)
    scale = (_BAR_HEIGHT - 1) / ((high - low) or 1.0)
    zero = round(high * scale)
    ends = np.rint((high - means) * scale).astype(np.intp)
    rows = np.arange(_BAR_HEIGHT)[:, np.newaxis]
    filled = (rows >= np.minimum(ends, zero)) & (rows <= np.maximum(ends, zero)) & (ends != zero)
    shown = np.where(filled, np.uint8(_INK), np.uint8(_PAPER))
    shown[zero] = np.where(filled[zero], _INK, _AXIS)
    return shown.repeat(max(1, _MOST_BARS // count), axis=1)


class PictureCache:
    """Pictures of the images that were shown last; it is shared by threads."""

    def __init__(self) -> None:
        self._pictures: OrderedDict[tuple[int, str, int], Picture] = OrderedDict()
        self._lock = Lock()

    def read(self, session: Session, run: int, images: Iterable[int]) -> dict[int, Picture]:
        """Return the pictures of ``images`` of ``run``, in ``session``, by number.

        Raises:
            Corrupt: the stored images are damaged.
        """
        content = run_facts.content_of(session, run)  # numbers of deleted runs are used again
        keys = {image: (run, content, image) for image in images}
        with self._lock:
            found = {image: self._pictures[key] for image, key in keys.items() if key in self._pictures}
        missing = [image for image in keys if image not in found]
        if missing:
            white = queries.white_of(session, run)
            for image, (pixels, source) in run_facts.read_pixels(session, run, missing).items():
                found[image] = picture(pixels, white, source)
        with self._lock:
            for image in missing:
                self._pictures[keys[image]] = found[image]
            while len(self._pictures) > _MAX_PICTURES:
                self._pictures.popitem(last=False)
        return found
