"""What reading one source may need: bytes, memory, images, and pixels of pictures."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from producer.images.limits import MAX_BYTES, MAX_UNPACKED_BYTES
from schema.errors import ImageError
from schema.quantities import count_text

if TYPE_CHECKING:
    from collections.abc import Callable

DECODING_BYTES = 32 * 2**20
"""Memory that arrays of any size are decoded with: a piece, its conversions, and a `Collector`."""

_COPIES = 2.5  # of smaller arrays: as they are read, as pixels, and as the rows of batches
_PIXEL_BYTES = 8  # of a picture that is decoded: its colours, and what they are converted to
_LABEL_BYTES = 24  # as a whole number, renumbered for a network, and as they are stored
_NAME_BYTES = 1_000  # of a picture in a folder or archive: its path, its name, its place


class Allowance:
    """Refuses a source that needs too much, by what its headers announce; by default only the limits hold."""

    def __init__(
        self,
        max_bytes: int = MAX_BYTES,
        reserve: Callable[[int], None] | None = None,
        *,
        max_pixels: int | None = None,
        expect: Callable[[int], None] | None = None,
    ) -> None:
        """Prepare an allowance for one source.

        Args:
            max_bytes: of its values after unpacking.
            reserve: reserves more bytes of memory, or raises an error.
            max_pixels: of all of its pictures together, before they are resized; None: any number.
            expect: is called with the number of images before they are decoded; raises an error if these are
                too many.
        """
        self.max_bytes = max_bytes
        self._max_unpacked = MAX_UNPACKED_BYTES if max_bytes == MAX_BYTES else max_bytes
        self._reserve, self._expect = reserve, expect
        self._max_pixels, self._pixels, self._pictures = max_pixels, 0, 0
        self._needed: dict[str, int] = {}

    def images(self, count: int) -> None:
        """Announce ``count`` images."""
        if self._expect is not None:
            self._expect(count)

    def values(self, name: str, size: int) -> None:
        """Announce ``size`` bytes of values of ``name``, decoded in pieces; raise ImageError for too many."""
        self._check(name, size)
        self._need("values", min(math.ceil(_COPIES * size), DECODING_BYTES))

    def unpacked(self, name: str, size: int) -> None:
        """Announce ``size`` bytes that a compressed file unpacks to, a piece at a time.

        Raises:
            ImageError: they are more than are allowed.
        """
        if size > self._max_unpacked:
            raise ImageError(
                f"{name}: unpacks to more than {self._max_unpacked / 1e6:g} MB: split it, or unpack it"
            )

    def text(self, name: str, size: int) -> None:
        """Announce that ``size`` bytes of text are in memory at a time; raise ImageError for too many."""
        self._check(name, size)
        self._need("text", math.ceil(_COPIES * size))

    def whole(self, size: int) -> None:
        """Announce ``size`` bytes that are in memory at a time, as rows of a table for example."""
        self._need("whole", size)

    def training_set(self, size: int) -> None:
        """Announce ``size`` bytes of images that become one row: as pixels, deflated, and as sent."""
        self._need("whole", 3 * size)

    def labels(self, count: int) -> None:
        """Announce ``count`` labels, which are held in memory."""
        self._need("labels", _LABEL_BYTES * count)

    def names(self, count: int) -> None:
        """Announce the names of ``count`` pictures, which are held in memory."""
        self._need("names", _NAME_BYTES * count)

    def picture(self, name: str, pixels: int) -> None:
        """Announce that the picture ``name`` of that many ``pixels`` is decoded next.

        Raises:
            ImageError: all pictures together have more pixels than are allowed.
        """
        self._pictures += 1
        self._pixels += pixels
        self._check_pixels(f"{name}: with it, ", self._pictures, self._pixels)
        self._need("picture", _PIXEL_BYTES * pixels)

    def pictures(self, count: int, pixels: int) -> None:
        """Announce all pictures, ``count`` of ``pixels``, before the first is decoded; raise as `picture`."""
        self._check_pixels("", count, pixels)

    def _check_pixels(self, where: str, count: int, pixels: int) -> None:
        if self._max_pixels is not None and pixels > self._max_pixels:
            raise ImageError(
                f"{where}{count_text(count, 'picture')} of {pixels:,} pixels; a request may have "
                f"{self._max_pixels:,}: scale them down before they are sent, or send fewer"
            )

    def _check(self, name: str, size: int) -> None:
        if size > self.max_bytes:
            raise ImageError(
                f"{name}: unpacks to more than {self.max_bytes / 1e6:g} MB: send fewer images in a run"
            )

    def _need(self, what: str, size: int) -> None:
        """Reserve ``size`` bytes for ``what``, which reuses what was reserved for it before."""
        more = size - self._needed.get(what, 0)
        if self._reserve is not None and more > 0:
            self._reserve(more)
            self._needed[what] = size
