"""Decodes small PNG and JPEG files of 8-bit grey or RGB that have nothing but pixels.

`PIL.Image.open` looks for the format, makes an object for the file and reads notes such as EXIF, which takes
longer than the pixels of a small picture. Here only the header is read, and Pillow's decoders get the rest.
Layouts: PNG, third edition (W3C 2025), section 5; JPEG, ITU-T T.81, annex B.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PLAIN_BYTES = 2**18
"""Bytes of a file: opening a larger one takes little of the time that its pixels take."""

MAX_PLAIN_PIXELS = 2**18
"""Pixels, whose memory is allocated before they are decoded."""

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
_CHUNK = struct.Struct(">I4s")
_IHDR = struct.Struct(">IIBBBBB")
_SIZES = struct.Struct(">BHHB")
_MODES = {0: "L", 2: "RGB"}  # of PNG, by colour type
_LAYERS = {1: "L", 3: "RGB"}  # of JPEG, by number of components
# Chunks that do not change a pixel, and their bytes.
_NOTES = {b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, b"pHYs": 9}
# Segments of JPEG: quantisation and Huffman tables, restart interval, JFIF and Adobe's marker of colours.
_TABLES = frozenset((0xDB, 0xC4, 0xDD, 0xE0, 0xEE))
_FRAMES = frozenset((0xC0, 0xC1, 0xC2))  # baseline, extended, progressive
_SCAN = 0xDA


class PlainHeader(NamedTuple):
    """The pixels that a file announces, and how Pillow decodes its ``data``."""

    mode: str
    width: int
    height: int
    data: bytes
    decoder: str
    arguments: tuple[object, ...]

    @property
    def is_jpeg(self) -> bool:
        """Return whether the file is JPEG, and not PNG."""
        return self.decoder == "jpeg"

    def decode(self) -> Image | None:
        """Return the picture, of mode L or RGB; None: it is damaged."""
        from PIL import Image

        try:
            return Image.frombytes(
                self.mode, (self.width, self.height), self.data, self.decoder, *self.arguments
            )
        except (ValueError, OSError):
            return None


def plain_header(data: bytes) -> PlainHeader | None:
    """Return the header of the PNG or JPEG file ``data``, of ``MAX_PLAIN_BYTES`` at most.

    None: it is of another kind or larger, or damaged. `PIL.Image.open` then reads it, or says what is wrong.
    """
    if len(data) > MAX_PLAIN_BYTES:
        return None
    header = _png(data) if data.startswith(_PNG) else _jpeg(data)
    if header is None or not 0 < header.width * header.height <= MAX_PLAIN_PIXELS:
        return None
    return header


def _png(data: bytes) -> PlainHeader | None:
    """Return the header of a PNG file that has its chunks and checksums, and only chunks that are known."""
    place, end = len(_PNG), len(data)
    header: tuple[int, ...] | None = None
    packed: list[bytes] = []
    while place + 12 <= end:
        size, kind = _CHUNK.unpack_from(data, place)
        after = place + 12 + size
        if after > end or zlib.crc32(data[place + 4 : after - 4]) != int.from_bytes(data[after - 4 : after]):
            return None
        if header is None:
            if kind != b"IHDR" or size != _IHDR.size:
                return None
            header = _IHDR.unpack_from(data, place + 8)
        elif kind == b"IDAT":
            packed.append(data[place + 8 : after - 4])
        elif kind == b"IEND":
            return _png_header(header, packed) if after == end else None
        elif packed or _NOTES.get(kind) != size:
            return None
        place = after
    return None


def _png_header(header: tuple[int, ...], packed: list[bytes]) -> PlainHeader | None:
    width, height, depth, kind, *methods = header
    mode = _MODES.get(kind)
    if mode is None or depth != 8 or any(methods):  # interlaced, for example
        return None
    return PlainHeader(mode, width, height, b"".join(packed), "zip", (mode, 0))


def _jpeg(data: bytes) -> PlainHeader | None:
    """Return the header of a JPEG file that has tables, one frame and its scans, and no notes."""
    place, end = 2, len(data)
    header: PlainHeader | None = None
    if not data.startswith(_JPEG):
        return None
    while place + 4 <= end and data[place] == 0xFF:
        marker, size = data[place + 1], int.from_bytes(data[place + 2 : place + 4])
        if marker == _SCAN:
            return header
        if marker in _FRAMES and header is None and size >= 8 and place + 2 + size <= end:
            depth, height, width, layers = _SIZES.unpack_from(data, place + 4)
            mode = _LAYERS.get(layers)
            if mode is None or depth != 8:
                return None
            header = PlainHeader(mode, width, height, data, "jpeg", (mode, ""))
        elif marker not in _TABLES:
            return None
        place += 2 + size
    return None
