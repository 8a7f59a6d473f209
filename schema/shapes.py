"""What each image of an array is: grey pixels, coloured pixels, or a vector of values."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray

ImageArray = NDArray[np.uint8 | np.float32]
"""(N, H, W) uint8 grey, (N, H, W, 3) uint8 colour, or (N, D) float32 vectors."""

InputArray = NDArray[np.uint8 | np.float32 | np.float16]
"""What the trained layers of a network take of N images: the images, or (N, V) float16 in their place, see
`schema.network.architecture.Architecture.joined_values`."""

Dtype = Literal["uint8", "float32"]

MAX_SIDE = 512
"""Rows or columns of an image that a network takes."""

MAX_VALUES = 65_536
"""Values of a vector that a network takes."""

BACKBONE_SIZES = (32, 64, 96, 128, 160, 192, 224, 256)
"""Height and width of the pictures that a backbone takes, pixels."""

COLOURS = 3
"""Channels of a coloured image: red, green and blue."""

BRIGHTEST = 255
"""Largest value of a pixel."""

_TEXT = re.compile(r"[1-9][0-9]{0,8}(x[1-9][0-9]{0,8}){0,2}")
_STORED: dict[str, np.dtype[np.uint8 | np.float32]] = {"uint8": np.dtype("u1"), "float32": np.dtype("<f4")}


@dataclass(frozen=True)
class ImageShape:
    """The shape of one image: (H, W) grey, (H, W, 3) colour, or (D,), a vector; and the type of its values.

    Rows of tables have it as two texts: ``28x28`` and ``uint8``, ``64x64x3`` and ``uint8``, or ``1280`` and
    ``float32``.
    """

    sizes: tuple[int, ...]
    dtype: Dtype = "uint8"

    @classmethod
    def of(cls, images: ImageArray) -> Self:
        """Return the shape of each of ``images``; raise ValueError for an array of another kind."""
        shape = cls(
            tuple(int(size) for size in images.shape[1:]), "uint8" if images.dtype == np.uint8 else "float32"
        )
        if images.dtype.name not in get_args(Dtype) or not shape._is_known():
            raise ValueError(f"no images have shape {images.shape} and type {images.dtype}")
        return shape

    @classmethod
    def parse(cls, text: str, dtype: str) -> Self:
        """Return the shape that a row has as ``text`` and ``dtype``; raise ValueError for others."""
        if _TEXT.fullmatch(text) and dtype in get_args(Dtype):
            shape = cls(tuple(map(int, text.split("x"))), "uint8" if dtype == "uint8" else "float32")
            if shape._is_known():
                return shape
        raise ValueError(f"images of shape {text[:40]!r} and type {dtype[:40]!r} are not known")

    @classmethod
    def image(cls, height: int, width: int, channels: int = 1) -> Self:
        """Return the shape of images of ``height`` x ``width`` pixels with 1 or 3 ``channels``."""
        return cls((height, width) if channels == 1 else (height, width, channels))

    @classmethod
    def vector(cls, values: int) -> Self:
        """Return the shape of vectors of that many ``values``."""
        return cls((values,), "float32")

    def __str__(self) -> str:
        """Return the text that rows have: ``28x28``, ``64x64x3`` or ``1280``."""
        return "x".join(map(str, self.sizes))

    @property
    def is_vector(self) -> bool:
        """Return whether an image is a vector, not pixels."""
        return len(self.sizes) == 1

    @property
    def is_colour(self) -> bool:
        """Return whether an image has red, green and blue."""
        return len(self.sizes) == len("HWC")

    @property
    def is_grey(self) -> bool:
        """Return whether an image has one value a pixel."""
        return len(self.sizes) == len("HW")

    @property
    def size(self) -> tuple[int, int]:
        """Return (height, width) of pixels; raise ValueError for vectors."""
        if self.is_vector:
            raise ValueError("a vector has no height and width")
        return self.sizes[0], self.sizes[1]

    @property
    def count(self) -> int:
        """Return the values of one image."""
        return math.prod(self.sizes)

    @property
    def stored_dtype(self) -> np.dtype[np.uint8 | np.float32]:
        """Return the type of the stored values: little-endian."""
        return _STORED[self.dtype]

    @property
    def nbytes(self) -> int:
        """Return the bytes of one image."""
        return self.count * self.stored_dtype.itemsize

    @property
    def short(self) -> str:
        """Return the size for a table: ``28 x 28``, ``64 x 64 colour`` or ``1,280 values``."""
        if self.is_vector:
            return f"{self.count:,} value{'' if self.count == 1 else 's'}"
        return f"{self.sizes[0]} x {self.sizes[1]}{' colour' if self.is_colour else ''}"

    @property
    def words(self) -> str:
        """Return what the images are, for a sentence: ``images of 28 x 28 pixels``, for example."""
        if self.is_vector:
            return f"vectors of {self.short}"
        return f"{'colour ' if self.is_colour else ''}images of {self.sizes[0]} x {self.sizes[1]} pixels"

    @property
    def option(self) -> str:
        """Return the size as ``--resize`` takes it: ``28x28``."""
        return "{}x{}".format(*self.size)

    def array(self, images: int) -> tuple[int, ...]:
        """Return the shape of an array of that many ``images``."""
        return (images, *self.sizes)

    @property
    def grey(self) -> Self:
        """Return the shape of grey images of this height and width; raise ValueError for vectors."""
        return type(self)(self.size)

    def with_size(self, size: Sequence[int]) -> Self:
        """Return the shape of pixels of the same kind, with (height, width) ``size``."""
        return type(self)((int(size[0]), int(size[1]), *self.sizes[2:]), self.dtype)

    def row(self) -> dict[str, str]:
        """Return the columns of a row."""
        return {"shape": str(self), "dtype": self.dtype}

    def _is_known(self) -> bool:
        if self.dtype == "float32":
            return len(self.sizes) == 1
        return len(self.sizes) == len("HW") or (len(self.sizes) == len("HWC") and self.sizes[2] == COLOURS)
