"""Any array of pixels -> (N, H, W) uint8 grey or (N, H, W, 3) uint8 colour; and from one to the other."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from producer.images.limits import MAX_IMAGES, MAX_PIXELS
from producer.images.pieces.collector import collect, in_pieces
from producer.images.pieces.stored import ArrayValues, StoredArray, Values
from producer.images.preprocessing import Changes
from schema.errors import ImageError
from schema.quantities import count_text
from schema.shapes import COLOURS, ImageArray, ImageShape

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from producer.images.pieces.allowance import Allowance

LUMA = (19595, 38470, 7471)
"""0.299, 0.587 and 0.114 of red, green and blue (ITU-R BT.601), in 65,536ths as Pillow has them."""


def to_pixels(
    array: NDArray[np.generic] | StoredArray,
    name: str,
    allowance: Allowance | None = None,
    changes: Changes | None = None,
    *,
    is_picture: bool = False,
) -> ImageArray:
    """Return the pixels in ``array`` as (N, H, W) or (N, H, W, 3) uint8, C order; many are in a file.

    Args:
        array: (N, H, W) or (N, H, W, 1), grey; (N, H, W, 3), colour. bool becomes 0 and 255; integers must
            lie in 0..255; floats are scaled by 255 when all lie in [0, 1], else must lie in [0, 255], and
            are rounded half to even.
        name: name of the source in messages.
        allowance: is asked for the number of images, before they are decoded.
        changes: counts images whose values are not taken as they are.
        is_picture: it is one picture, so that the first axis is missing.

    Raises:
        ImageError: another shape or dtype, no images, values out of range, NaN or infinite.
    """
    values: Values = array if isinstance(array, StoredArray) else ArrayValues(array)
    count, shape = _image_shape((1, *values.shape) if is_picture else values.shape, name)
    if allowance is not None:
        allowance.images(count)
    if isinstance(array, np.ndarray) and array.dtype == np.uint8:
        whole = array.reshape(shape.array(count))
        return np.require(whole.astype(np.uint8, copy=False), requirements=["C"])
    stack = _Stack(values, shape, name)
    counts = (Changes() if changes is None else changes).counts
    match values.dtype.kind:
        case "b":
            pixels = collect(count, shape, _from_bools(stack))
            counts["turned from bool to 0 and 255"] += count
            return pixels
        case "u" | "i":
            return collect(count, shape, _from_integers(stack))
        case "f":
            what = f"scaled from {values.dtype}, 0 to 1, to 0 to 255"
            try:
                pixels = collect(count, shape, _from_floats(stack, 255.0))
            except _AboveOneError:
                what = f"rounded from {values.dtype} to 0 to 255"
                pixels = collect(count, shape, _from_floats(stack, 1.0))
            counts[what] += count
            return pixels
    raise ImageError(f"{name} has pixels of type {values.dtype}: save them as uint8")


def to_grey(images: ImageArray) -> ImageArray:
    """Return the grey values (N, H, W) of coloured ``images`` (N, H, W, 3), by ITU-R BT.601."""
    return in_pieces(_grey, images, ImageShape(images.shape[1:3]))


def to_colour(images: ImageArray) -> ImageArray:
    """Return ``images`` (N, H, W) as coloured ones (N, H, W, 3): red, green and blue are the grey value."""
    shape = ImageShape((*images.shape[1:], COLOURS))
    return in_pieces(lambda piece: np.repeat(piece[..., np.newaxis], COLOURS, axis=3), images, shape)


@dataclass(frozen=True)
class _Stack:
    """Images: ``values`` of images of ``shape``."""

    values: Values
    shape: ImageShape
    name: str

    def pieces(self) -> Iterator[NDArray[np.generic]]:
        return self.values.pieces(COLOURS if self.shape.is_colour else 1)


class _AboveOneError(Exception):
    """A float is above 1, so that floats are not scaled by 255."""


def _image_shape(shape: tuple[int, ...], name: str) -> tuple[int, ImageShape]:
    """Return the number of images and their shape; raise ImageError for other shapes and too many images."""
    if len(shape) == 3:
        stacked, channels = shape, 1
    elif len(shape) == 4 and shape[3] in (1, COLOURS):
        stacked, channels = shape[:3], shape[3]
    else:
        raise ImageError(
            f"{name} has shape {shape}, not (N, H, W), (H, W), (N, H, W, 1) or (N, H, W, 3): "
            "reshape flattened rows, put a channel axis last, drop an alpha channel"
        )
    count, height, width = stacked
    if count == 0 or height == 0 or width == 0:
        raise ImageError(f"{name} holds no images (shape {shape})")
    if count > MAX_IMAGES:
        raise ImageError(f"{name} holds {count_text(count, 'image')}, more than {MAX_IMAGES:,}: split it")
    if height * width > MAX_PIXELS:
        raise ImageError(
            f"{name} has images of {height:,} x {width:,} pixels, more than {MAX_PIXELS:,}: scale them down"
        )
    return count, ImageShape.image(height, width, channels)


def _from_bools(stack: _Stack) -> Iterator[NDArray[np.uint8]]:
    for piece in stack.pieces():
        # A stored bool may be any byte; all but 0 are true.
        yield np.multiply(piece.view(np.uint8) != 0, np.uint8(255))


def _from_integers(stack: _Stack) -> Iterator[NDArray[np.uint8]]:
    low, high = math.inf, -math.inf
    for piece in stack.pieces():
        if piece.dtype != np.uint8:
            low, high = min(low, int(piece.min())), max(high, int(piece.max()))
        yield piece.astype(np.uint8, copy=False)
    if low < 0 or high > 255:
        raise ImageError(
            f"{stack.name} has pixels from {low} to {high}, but integers must lie in 0..255: scale them"
        )


def _from_floats(stack: _Stack, scale: float) -> Iterator[NDArray[np.uint8]]:
    low, high, start = math.inf, -math.inf, 0
    for piece in stack.pieces():
        finite = np.isfinite(piece)
        if not finite.all():
            _refuse_not_finite(piece, finite, start, stack)
        low, high = min(low, float(piece.min())), max(high, float(piece.max()))
        if scale > 1 and high > 1:
            raise _AboveOneError
        if low >= 0 and high <= 255:
            yield np.rint(piece.astype(np.float64) * scale).astype(np.uint8)
        start += len(piece)
    if low < 0 or high > 255:
        raise ImageError(
            f"{stack.name} has pixels from {low:g} to {high:g}, but floats must lie in [0, 1] or [0, 255]: "
            "scale them"
        )


def _refuse_not_finite(
    piece: NDArray[np.generic], finite: NDArray[np.bool_], start: int, stack: _Stack
) -> None:
    """Raise ImageError for the first image of ``piece``, whose first value is number ``start``."""
    per_image = stack.shape.count
    image = (start + int(np.argmin(finite))) // per_image
    own = piece[max(image * per_image - start, 0) : (image + 1) * per_image - start]
    what = "NaN" if np.isnan(own).any() else "infinite"
    raise ImageError(f"{stack.name} has {what} pixels in image {image:,} (counted from 0): repair or drop it")


def _grey(colour: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Return the grey values of ``colour``: red, green and blue of one pixel after the other."""
    red, green, blue = (np.uint32(share) for share in LUMA)
    part = colour.reshape(-1, 3).astype(np.uint32)
    total = part[:, 0] * red + part[:, 1] * green + part[:, 2] * blue
    grey: NDArray[np.uint32] = (total + np.uint32(0x8000)) >> np.uint32(16)
    return grey.astype(np.uint8)
