"""Pictures as the values that a backbone takes: another size, then (p - mean) / std, channels first."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from schema.network.backbones import PixelScale


def to_values(images: NDArray[np.uint8], size: int, scale: PixelScale) -> NDArray[np.float32]:
    """Return ``images`` (b, H, W, 3) uint8 as (b, 3, ``size``, ``size``) float32, scaled by ``scale``.

    Another size is reached with Pillow's bicubic filter, which averages where it makes pictures smaller.
    """
    if images.shape[1:3] != (size, size):
        images = np.stack([_resized(image, size) for image in images])
    std = np.array(scale.std, np.float32)
    shift = np.array(scale.mean, np.float32) / std
    values = np.empty((len(images), 3, size, size), np.float32)
    for channel in range(3):
        part = values[:, channel]
        np.multiply(images[..., channel], np.float32(1.0) / std[channel], out=part, casting="unsafe")
        part -= shift[channel]
    return values


def _resized(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC))
