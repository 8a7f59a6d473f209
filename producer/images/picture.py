"""Reads one picture file -> (H, W) uint8 grey."""

from __future__ import annotations

import struct
from pathlib import PurePath
from typing import TYPE_CHECKING

import numpy as np

from producer.images.limits import MAX_PIXELS
from producer.images.stream import open_regular, printable
from schema.errors import ImageError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from PIL.Image import Image

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "PPM", "TIFF")
"""Pillow's names; other formats are disabled, because some of its readers start external programs."""

SUFFIXES = frozenset(
    (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".pgm", ".ppm", ".pbm", ".pnm", ".tif", ".tiff")
)

EIGHT_BITS = frozenset(("1", "L", "P", "LA", "La", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr"))
SIXTEEN_BITS = frozenset(("I;16", "I;16L", "I;16B", "I;16N"))

DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    EOFError,
    struct.error,
    Warning,
)
"""Exceptions of Pillow's readers on damaged files, and its warnings where Python makes them errors."""


def is_picture(name: str) -> bool:
    """Return whether ``name`` has the suffix of a picture."""
    return PurePath(name).suffix.lower() in SUFFIXES


def read_picture(path: Path) -> NDArray[np.uint8]:
    """Return the picture in ``path``, (H, W) uint8.

    Colour becomes grey by ITU-R BT.601, 16 bits become 8 by dividing by 257.

    Raises:
        ImageError: not a picture of a known format, damaged, of more than ``MAX_PIXELS``, animated, partly
            transparent, or of 32-bit values.
    """
    from PIL import Image, UnidentifiedImageError

    name = printable(path)
    with open_regular(path) as file:
        try:
            with Image.open(file, formats=FORMATS) as picture:
                _check(picture, name)
                return _grey(picture, name)
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise ImageError(f"{name} is larger than {MAX_PIXELS:,} pixels: scale it down") from error
        except UnidentifiedImageError as error:
            raise ImageError(
                f"{name} is damaged or not a {', '.join(FORMATS)} picture: remove it or save it again"
            ) from error
        except DAMAGE as error:
            raise ImageError(f"{name} is damaged ({printable(error)}): remove it or save it again") from error


def _check(picture: Image, name: str) -> None:
    """Raise ImageError for a picture that cannot become one grey image, before its pixels are decoded."""
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise ImageError(f"{name} has {height:,} x {width:,} pixels, more than {MAX_PIXELS:,}: scale it down")
    # A phone's JPEG may carry a preview as a second frame; its first is the picture.
    if picture.format != "MPO" and getattr(picture, "is_animated", False):
        raise ImageError(f"{name} has several frames: save each as a file of its own")
    if picture.mode not in EIGHT_BITS | SIXTEEN_BITS and not _is_wide_pgm(picture):
        raise ImageError(
            f"{name} has values of mode {picture.mode!r}: save it as 8-bit or 16-bit grey, or RGB"
        )


def _grey(picture: Image, name: str) -> NDArray[np.uint8]:
    if picture.mode in SIXTEEN_BITS or _is_wide_pgm(picture):
        wide = np.asarray(picture).astype(np.uint32)
        return ((wide + 128) // 257).astype(np.uint8)
    if picture.has_transparency_data:
        with picture.convert("RGBA") as opaque:
            if opaque.getchannel("A").getextrema() != (255, 255):
                raise ImageError(f"{name} is partly transparent: flatten it onto a background first")
            return np.array(opaque.convert("L"))
    return np.array(picture.convert("L"))


def _is_wide_pgm(picture: Image) -> bool:
    # Pillow reads PGM of more than 8 bits as 32-bit integers scaled to 0..65535.
    return picture.mode == "I" and picture.format == "PPM"
