"""Decodes one picture -> (H, W) uint8 grey, or (H, W, 3) uint8 colour."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.typing import NDArray

from producer.images.limits import MAX_PIXELS, MAX_REDUCIBLE_PIXELS, MAX_WEBP_BYTES, format_bytes
from producer.images.pictures.plain import MAX_PLAIN_BYTES, plain_header
from producer.images.preprocessing import AS_IS, COLOURED, CUT, INKS, REPEATED, TURNED, WIDE, Changes
from producer.images.stream import open_regular, printable
from schema.errors import ImageError

if TYPE_CHECKING:
    from pathlib import Path

    from PIL.Image import Image

    from producer.images.pieces.allowance import Allowance
    from producer.images.preprocessing import Preprocessing

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "PPM", "TIFF")
"""Pillow's names; other formats are disabled, because some of its readers start external programs."""

GREY = frozenset(("1", "L", "LA", "La"))
EIGHT_BITS = GREY | frozenset(("P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr"))
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

_ORIENTATION = 0x0112  # EXIF tag; 1 is upright
# What makes pixels of each orientation upright (CIPA DC-008, "Orientation").
_TURNS: dict[int, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
    2: np.fliplr,
    3: lambda pixels: pixels[::-1, ::-1],
    4: np.flipud,
    5: lambda pixels: np.swapaxes(pixels, 0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: np.swapaxes(pixels[::-1, ::-1], 0, 1),
    8: np.rot90,
}
_COLOUR_MODES = frozenset(("RGB", "RGBA", "RGBX"))
_SAMPLE = (32, 32)
_GREY_NOISE = 8  # grey levels by which JPEG compression may separate the channels of a grey picture


def read_picture(
    path: Path,
    preprocessing: Preprocessing = AS_IS,
    changes: Changes | None = None,
    allowance: Allowance | None = None,
) -> NDArray[np.uint8]:
    """Return the picture in the file ``path`` as `decode` does."""
    with open_regular(path) as file:
        return decode(file, printable(path), preprocessing, changes, allowance)


def announced_pixels(path: Path) -> int:
    """Return the pixels of the picture in ``path`` by its header; 0 if it has none that can be read."""
    from PIL import Image

    try:
        with Image.open(path, formats=FORMATS) as picture:
            return picture.width * picture.height
    except (*DAMAGE, Image.DecompressionBombError):
        return 0


def decode(
    file: BinaryIO,
    name: str,
    preprocessing: Preprocessing = AS_IS,
    changes: Changes | None = None,
    allowance: Allowance | None = None,
) -> NDArray[np.uint8]:
    """Return the picture in ``file``, turned as its EXIF says and prepared.

    It is grey, (H, W) uint8, or coloured, (H, W, 3) uint8: as ``preprocessing`` says, or else as it is.
    Colour becomes grey by ITU-R BT.601, 16 bits become 8 by dividing by 257. A large JPEG that will be
    resized is decoded at 1/2, 1/4 or 1/8 of its size, at least twice the wanted one.

    Args:
        file: seekable.
        name: for messages.
        preprocessing: what is done to it.
        changes: counts what was changed.
        allowance: what it may need.

    Raises:
        ImageError: not a picture of a known format, damaged, of more than ``MAX_PIXELS``, animated, partly
            transparent, or of 32-bit values.
    """
    changes = Changes() if changes is None else changes
    plain = _read_plain(file, name, preprocessing, allowance)
    if plain is None:
        return _open_and_decode(file, name, preprocessing, changes, allowance)
    return preprocessing.apply(_pixels(plain, name, preprocessing.colour, changes), changes)


def _open_and_decode(
    file: BinaryIO, name: str, preprocessing: Preprocessing, changes: Changes, allowance: Allowance | None
) -> NDArray[np.uint8]:
    """Return the picture in ``file``, which Pillow opens, as `decode` does."""
    from PIL import Image, UnidentifiedImageError

    try:
        _check_webp(file, name)
        with Image.open(file, formats=FORMATS) as picture:
            pixels = picture.width * picture.height
            is_reduced = preprocessing.size is not None and (not preprocessing.exact or pixels > MAX_PIXELS)
            if is_reduced and preprocessing.size is not None and pixels <= MAX_REDUCIBLE_PIXELS:
                height, width = preprocessing.size
                picture.draft(None, (2 * max(width, height),) * 2)  # only readers of JPEG do anything
            _check(picture, name)
            if allowance is not None:
                allowance.picture(name, picture.height * picture.width)
            return preprocessing.apply(_upright(picture, name, preprocessing.colour, changes), changes)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"{name} is larger than {MAX_PIXELS:,} pixels: scale it down") from error
    except UnidentifiedImageError as error:
        raise ImageError(
            f"{name} is damaged or not a {', '.join(FORMATS)} picture: remove it or save it again"
        ) from error
    except DAMAGE as error:
        raise ImageError(f"{name} is damaged ({printable(error)}): remove it or save it again") from error


def _read_plain(
    file: BinaryIO, name: str, preprocessing: Preprocessing, allowance: Allowance | None
) -> Image | None:
    """Return the picture in ``file`` if it is plain; None, and ``file`` as it was: Pillow opens it."""
    data = file.read(MAX_PLAIN_BYTES + 1)
    file.seek(0)
    header = plain_header(data)
    if header is None or (header.is_jpeg and preprocessing.size is not None and not preprocessing.exact):
        return None
    _check_pixels(header.height, header.width, name)
    picture = header.decode()
    if picture is not None and allowance is not None:
        allowance.picture(name, header.height * header.width)
    return picture


def _check_webp(file: BinaryIO, name: str) -> None:
    """Raise ImageError for a WebP file that is too large.

    Pillow allocates memory for all of its pixels before one can ask it for their number. Layout of the
    header: RFC 9649, sections 2.4 to 2.7.
    """
    head = file.read(30)
    file.seek(0)
    if head[:4] != b"RIFF" or head[8:12] != b"WEBP" or len(head) < 30:
        return
    match head[12:16]:
        case b"VP8X":
            width = 1 + int.from_bytes(head[24:27], "little")
            height = 1 + int.from_bytes(head[27:30], "little")
        case b"VP8L":
            bits = int.from_bytes(head[21:25], "little")
            width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        case _:
            width = int.from_bytes(head[26:28], "little") & 0x3FFF
            height = int.from_bytes(head[28:30], "little") & 0x3FFF
    _check_pixels(height, width, name)
    size = file.seek(0, 2)
    file.seek(0)
    if size > MAX_WEBP_BYTES:
        raise ImageError(
            f"{name} has {format_bytes(size)}, more than {format_bytes(MAX_WEBP_BYTES)}: scale it down"
        )


def _check_pixels(height: int, width: int, name: str) -> None:
    if width * height > MAX_PIXELS:
        raise ImageError(f"{name} has {height:,} x {width:,} pixels, more than {MAX_PIXELS:,}: scale it down")


def _check(picture: Image, name: str) -> None:
    """Raise ImageError for a picture that cannot become one image, before its pixels are decoded."""
    _check_pixels(picture.height, picture.width, name)
    # A phone's JPEG may carry a preview as a second frame; its first is the picture.
    if picture.format != "MPO" and getattr(picture, "is_animated", False):
        raise ImageError(f"{name} has several frames: save each as a file of its own")
    if picture.mode not in EIGHT_BITS | SIXTEEN_BITS and not _is_wide_pgm(picture):
        raise ImageError(
            f"{name} has values of mode {picture.mode!r}: save it as 8-bit or 16-bit grey, or RGB"
        )


def _upright(picture: Image, name: str, colour: bool | None, changes: Changes) -> NDArray[np.uint8]:
    # Asked before the pixels are decoded, when Pillow forgets how they are stored.
    if picture.mode in _COLOUR_MODES and any("16" in str(tile.args) for tile in getattr(picture, "tile", ())):
        changes.counts[CUT] += 1
    if picture.mode == "CMYK":
        changes.counts[INKS] += 1
    pixels = _pixels(picture, name, colour, changes)
    # Asked after the pixels are decoded: Pillow turns a TIFF itself, and then forgets its orientation.
    turn = _TURNS.get(picture.getexif().get(_ORIENTATION, 1))
    if turn is None:
        return pixels
    changes.counts[TURNED] += 1
    return np.ascontiguousarray(turn(pixels))


def _pixels(picture: Image, name: str, colour: bool | None, changes: Changes) -> NDArray[np.uint8]:
    """Return the pixels of ``picture``, grey or coloured as `decode` says."""
    is_coloured = not colour and _is_coloured(picture)
    if is_coloured and colour is False:
        changes.counts[COLOURED] += 1
    if colour and (picture.mode in GREY or picture.mode not in EIGHT_BITS):
        changes.counts[REPEATED] += 1
    return _converted(picture, name, changes, "RGB" if colour or (is_coloured and colour is None) else "L")


def _is_coloured(picture: Image) -> bool:
    """Return whether the channels of a sample of the pixels differ."""
    from PIL.Image import Resampling

    if picture.mode in GREY or picture.mode not in EIGHT_BITS:
        return False
    sample = np.asarray(picture.resize(_SAMPLE, Resampling.NEAREST).convert("RGB")).astype(np.int16)
    return bool((np.ptp(sample, axis=2) > _GREY_NOISE).any())


def _converted(picture: Image, name: str, changes: Changes, mode: str) -> NDArray[np.uint8]:
    """Return the pixels of ``picture`` in the ``mode`` L, grey, or RGB."""
    if picture.mode in SIXTEEN_BITS or _is_wide_pgm(picture):
        changes.counts[WIDE] += 1
        wide = np.asarray(picture).astype(np.uint32)
        grey = ((wide + 128) // 257).astype(np.uint8)
        return grey if mode == "L" else np.repeat(grey[..., np.newaxis], len(mode), axis=2)
    if picture.has_transparency_data:
        with picture.convert("RGBA") as opaque:
            if opaque.getchannel("A").getextrema() != (255, 255):
                raise ImageError(f"{name} is partly transparent: flatten it onto a background first")
            return np.array(opaque.convert(mode))
    if picture.mode != mode:
        return np.array(picture.convert(mode))
    pixels = np.frombuffer(picture.tobytes(), np.uint8)
    return pixels.reshape(picture.height, picture.width, *([] if mode == "L" else [len(mode)]))


def _is_wide_pgm(picture: Image) -> bool:
    # Pillow reads PGM of more than 8 bits as 32-bit integers scaled to 0..65535.
    return picture.mode == "I" and picture.format == "PPM"
