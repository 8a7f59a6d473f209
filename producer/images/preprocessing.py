"""Resizes and inverts images on request, and counts what reading them changed or left out."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Self

from schema.errors import ImageError, ParameterError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_SIDE = 512
"""Pixels of a side after resizing: that of the largest network input."""

MOST_NAMED = 3
"""Largest number of files named in a note."""

_SIZE = re.compile(r"([0-9]{1,4})(?:[xX]([0-9]{1,4}))?")


class Fit(StrEnum):
    """What happens to the sides of an image whose proportions differ from the wanted size."""

    CROP = "crop"
    PAD = "pad"
    STRETCH = "stretch"


class ReadAs(StrEnum):
    """What an array of numbers is: images, one picture, or vectors."""

    IMAGES = "images"
    PICTURE = "picture"
    VECTORS = "vectors"


@dataclass(frozen=True)
class Preprocessing:
    """What an array is, and what is done to each image after it was decoded; by default nothing.

    Attributes:
        size: (height, width) that images are resized to; None: images keep their size.
        fit: how images of other proportions are resized.
        invert: dark becomes bright and the other way round.
        skip_unreadable: pictures that cannot be read are left out instead of refused.
        read_as: what an array of numbers is; None: what its shape and type say, if that is one thing only.
        colour: whether pictures become coloured images, or else grey ones; None: as they are, which must be
            the same for all of a source.
        exact: a large JPEG is decoded at its own size before it is resized, as an array of it would be.
    """

    size: tuple[int, int] | None = None
    fit: Fit = Fit.CROP
    invert: bool = False
    skip_unreadable: bool = False
    read_as: ReadAs | None = None
    colour: bool | None = None
    exact: bool = False

    @classmethod
    def parse(
        cls,
        resize: str | None,
        fit: Fit,
        invert: bool,
        skip_unreadable: bool,
        read_as: ReadAs | None = None,
    ) -> Self:
        """Return what these options ask for; raise ParameterError for a size or fit that cannot be used."""
        if resize is None and fit is not Fit.CROP:
            raise ParameterError(f"fit {fit} applies to resized images, but no size is given: add --resize")
        return cls(None if resize is None else parse_size(resize), fit, invert, skip_unreadable, read_as)

    @property
    def changes_pixels(self) -> bool:
        return self.size is not None or self.invert

    def apply(self, image: NDArray[np.uint8], changes: Changes) -> NDArray[np.uint8]:
        """Return ``image``, (H, W) or (H, W, 3) uint8, inverted and resized; count it in ``changes``.

        Resizing is bicubic over all pixels (antialiased), as Pillow has it. Padding is black.
        """
        if self.invert:
            image = 255 - image
            changes.counts[INVERTED] += 1
        if self.size is None or image.shape[:2] == self.size:
            return image
        changes.counts[f"resized to {self.size[0]} x {self.size[1]} ({self.fit})"] += 1
        return _resized(image, self.size, self.fit)


AS_IS = Preprocessing()


class LaterColourError(ImageError):
    """A coloured picture follows grey ones: the source is read again, all of it coloured."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} is coloured, and pictures before it are grey: save all of them coloured")


class DifferentSizesError(ImageError):
    """Pictures of a source have different sizes, and no size was asked for; ``side``: the shortest seen."""

    def __init__(self, problem: str, *shapes: tuple[int, ...]) -> None:
        super().__init__(
            f"{problem}: scale them to one size with --resize, as in --resize 28, or use a network that "
            "resizes pictures, which `annealq networks train --data DATA` makes of labelled ones"
        )
        self.side = min(side for shape in shapes for side in shape[:2])


COLOURED = "turned from colour to grey"
REPEATED = "repeated from grey to red, green and blue"
WIDE = "reduced from 16 to 8 bits"
CUT = "cut from 16 to 8 bits a colour, the lower ones dropped"
INKS = "converted from CMYK without its colour profile"
TURNED = "turned upright by EXIF"
INVERTED = "inverted"
UNREADABLE = "as unreadable"
NOT_PICTURES = "as no pictures"


@dataclass
class Changes:
    """Counts of images by what was changed, and names of files by why they were left out."""

    counts: Counter[str] = field(default_factory=Counter)
    left_out: dict[str, list[str]] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    def clear(self) -> None:
        """Forget everything: the source is read again."""
        self.counts.clear()
        self.left_out.clear()
        self.remarks.clear()

    def leave_out(self, name: str, why: str) -> None:
        """Note that the file ``name`` is left out because it is ``why``."""
        self.left_out.setdefault(why, []).append(name)

    def uncounted(self) -> tuple[str, ...]:
        """Return what was changed and left out, one text each, without numbers and names.

        These are the same wherever a reading was interrupted and continued.
        """
        changed = [f"some {what}" for what in self.counts]
        return (*changed, *(f"some left out, {why}" for why in self.left_out), *self.remarks)

    def notes(self) -> tuple[str, ...]:
        """Return what was changed and left out, one text each."""
        changed = [f"{count:,} {what}" for what, count in self.counts.items()]
        return (*changed, *(_left_out(why, names) for why, names in self.left_out.items()), *self.remarks)


def parse_size(text: str) -> tuple[int, int]:
    """Return (height, width) of ``28`` or ``28x32``; raise ParameterError if it is neither, or too large."""
    found = _SIZE.fullmatch(text.strip())
    height, width = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if not (1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE):
        raise ParameterError(
            f"resize {text[:40]!r} is not a size: give HEIGHT or HEIGHTxWIDTH, as in 28 or 28x32, "
            f"each from 1 to {MAX_SIDE}"
        )
    return height, width


def _resized(image: NDArray[np.uint8], size: tuple[int, int], fit: Fit) -> NDArray[np.uint8]:
    import numpy as np
    from PIL import Image, ImageOps

    height, width = size
    picture, method = Image.fromarray(image), Image.Resampling.BICUBIC
    match fit:
        case Fit.CROP:
            picture = ImageOps.fit(picture, (width, height), method)
        case Fit.STRETCH:
            picture = picture.resize((width, height), method)
        case Fit.PAD:
            scale = min(height / image.shape[0], width / image.shape[1])
            rows, columns = (max(1, round(side * scale)) for side in image.shape[:2])
            inner = picture.resize((columns, rows), method)
            picture = Image.new(inner.mode, (width, height))
            picture.paste(inner, ((width - columns) // 2, (height - rows) // 2))
    return np.array(picture)


def _left_out(why: str, names: list[str]) -> str:
    named = ", ".join(names[:MOST_NAMED]) + (", ..." if len(names) > MOST_NAMED else "")
    return f"{len(names):,} left out, {why} ({named})"
