"""Any array of pixels -> (N, H, W) uint8 grey."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from producer.images.limits import CHUNK_PIXELS, MAX_IMAGES, MAX_PIXELS
from schema.errors import ImageError
from schema.quantities import count_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

LUMA = (19595, 38470, 7471)
"""0.299, 0.587 and 0.114 of red, green and blue (ITU-R BT.601), in 65,536ths as Pillow has them."""


def to_pixels(array: NDArray[np.generic], name: str) -> NDArray[np.uint8]:
    """Return the pixels in ``array`` as (N, H, W) uint8, C order, writable.

    Args:
        array: (N, H, W); (H, W), one image; (N, H, W, 1); (N, H, W, 3), colour, turned to grey by ITU-R
            BT.601. bool becomes 0 and 255; integers must lie in 0..255; floats are scaled by 255 when all lie
            in [0, 1], else must lie in [0, 255], and are rounded half to even.
        name: name of the source in messages.

    Raises:
        ImageError: another shape or dtype, no images, values out of range, NaN or infinite.
    """
    stack = _stacked(array, name)
    _check_size(stack.shape, name)
    match stack.dtype.kind:
        case "b":
            # A stored bool may be any byte; all but 0 are true.
            pixels = np.multiply(stack.view(np.uint8) != 0, np.uint8(255))
        case "u" | "i":
            pixels = _from_integers(stack, name)
        case "f":
            pixels = _from_floats(stack, name)
        case _:
            raise ImageError(f"{name} has pixels of type {stack.dtype}: save them as uint8")
    return _grey(pixels) if pixels.ndim == 4 else pixels


def _stacked(array: NDArray[np.generic], name: str) -> NDArray[np.generic]:
    """Return (N, H, W) or, in colour, (N, H, W, 3)."""
    if array.ndim == 2:
        return array[np.newaxis]
    if array.ndim == 3 or (array.ndim == 4 and array.shape[3] == 3):
        return array
    if array.ndim == 4 and array.shape[3] == 1:
        return array[..., 0]
    raise ImageError(
        f"{name} has shape {array.shape}, not (N, H, W), (H, W), (N, H, W, 1) or (N, H, W, 3): "
        "reshape flattened rows, put a channel axis last, drop an alpha channel"
    )


def _check_size(shape: tuple[int, ...], name: str) -> None:
    count, height, width = shape[:3]
    if count == 0 or height == 0 or width == 0:
        raise ImageError(f"{name} holds no images (shape {shape})")
    if count > MAX_IMAGES:
        raise ImageError(f"{name} holds {count_text(count, 'image')}, more than {MAX_IMAGES:,}: split it")
    if height * width > MAX_PIXELS:
        raise ImageError(
            f"{name} has images of {height:,} x {width:,} pixels, more than {MAX_PIXELS:,}: scale them down"
        )


def _from_integers(stack: NDArray[np.generic], name: str) -> NDArray[np.uint8]:
    if stack.dtype != np.uint8:
        low, high = int(stack.min()), int(stack.max())
        if low < 0 or high > 255:
            raise ImageError(
                f"{name} has pixels from {low} to {high}, but integers must lie in 0..255: scale them"
            )
    return np.require(stack.astype(np.uint8, copy=False), requirements=["C", "W"])


def _from_floats(stack: NDArray[np.generic], name: str) -> NDArray[np.uint8]:
    low, high = np.inf, -np.inf
    for chunk in _chunks(stack):
        part = stack[chunk]
        if not np.isfinite(part).all():
            _refuse_not_finite(part, chunk.start, name)
        low, high = min(low, float(part.min())), max(high, float(part.max()))
    if low < 0 or high > 255:
        raise ImageError(
            f"{name} has pixels from {low:g} to {high:g}, but floats must lie in [0, 1] or [0, 255]: "
            "scale them"
        )
    scale = 255.0 if high <= 1 else 1.0
    pixels = np.empty(stack.shape, np.uint8)
    for chunk in _chunks(stack):
        pixels[chunk] = np.rint(stack[chunk].astype(np.float64) * scale)
    return pixels


def _refuse_not_finite(part: NDArray[np.generic], start: int, name: str) -> None:
    finite = np.isfinite(part).all(axis=tuple(range(1, part.ndim)))
    first = int(np.argmin(finite))
    what = "NaN" if np.isnan(part[first]).any() else "infinite"
    raise ImageError(
        f"{name} has {what} pixels in image {start + first:,} (counted from 0): repair or drop it"
    )


def _grey(colour: NDArray[np.uint8]) -> NDArray[np.uint8]:
    red, green, blue = (np.uint32(share) for share in LUMA)
    grey = np.empty(colour.shape[:3], np.uint8)
    for chunk in _chunks(colour):
        part = colour[chunk].astype(np.uint32)
        total = part[..., 0] * red + part[..., 1] * green + part[..., 2] * blue
        grey[chunk] = (total + np.uint32(0x8000)) >> np.uint32(16)
    return grey


def _chunks(stack: NDArray[np.generic]) -> Iterator[slice]:
    """Yield slices along the first axis of about ``CHUNK_PIXELS`` values each."""
    step = max(1, CHUNK_PIXELS // (stack.size // stack.shape[0]))
    for start in range(0, stack.shape[0], step):
        yield slice(start, start + step)
