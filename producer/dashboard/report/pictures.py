"""The pixels of images as PNG files inside of pages. A process stores those that it has drawn."""

from __future__ import annotations

import base64
import io
from collections import OrderedDict
from collections.abc import Iterable
from threading import Lock

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sqlalchemy.orm import Session

from producer.dashboard.report import run_facts
from producer.dashboard.report.run_facts import Picture

_MAX_PICTURES = 20_000  # in memory, of a kilobyte or so each


def draw(pixels: NDArray[np.uint8], white: int) -> str:
    """Return (H, W) ``pixels`` from 0 (black) to ``white`` as the `data:` address of a PNG."""
    grey = (pixels.astype(np.float64) * (255.0 / white)).round().clip(0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(grey).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


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
            white = run_facts.white_of(session, run)
            for image, (pixels, source) in run_facts.read_pixels(session, run, missing).items():
                found[image] = Picture(draw(pixels, white), source)
        with self._lock:
            for image in missing:
                self._pictures[keys[image]] = found[image]
            while len(self._pictures) > _MAX_PICTURES:
                self._pictures.popitem(last=False)
        return found
