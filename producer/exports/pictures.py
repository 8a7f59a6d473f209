"""Encodes pixels as PNG."""

from __future__ import annotations

from base64 import b64encode
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

_BRIGHTEST = 255


def png(pixels: NDArray[np.uint8]) -> bytes:
    """Return grey ``pixels`` (H, W) or coloured ones (H, W, 3), uint8, as a PNG file."""
    from PIL import Image

    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def data_address(pixels: NDArray[np.uint8]) -> str:
    """Return ``pixels``, as of `png`, as the `data:` address of a PNG (RFC 2397)."""
    return f"data:image/png;base64,{b64encode(png(pixels)).decode()}"


def visible(pixels: NDArray[Any], white: int) -> NDArray[np.uint8]:
    """Return ``pixels`` from 0 (black) to ``white`` as 0 to 255, uint8, so that they can be seen."""
    scaled: NDArray[np.float64] = pixels.astype(np.float64) * (_BRIGHTEST / white)
    return scaled.round().clip(0, _BRIGHTEST).astype(np.uint8)
