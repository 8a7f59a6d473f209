"""Reads the images that a command names, and prints what was changed or left out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from producer.commands.shared.request import declared
from producer.images.preprocessing import Fit, Preprocessing, ReadAs
from producer.runs.request import RunRequest
from schema.parameters import fields_of

if TYPE_CHECKING:
    from pathlib import Path

    from producer.images.imageset import ImageSet

_FIELDS = fields_of(RunRequest)

ArrayKind = Annotated[ReadAs | None, declared("read_as", _FIELDS["read_as"])]
Resize = Annotated[str | None, declared("resize", _FIELDS["resize"])]
Fitted = Annotated[Fit, declared("fit", _FIELDS["fit"])]
Invert = Annotated[bool, declared("invert", _FIELDS["invert"])]
SkipUnreadable = Annotated[bool, declared("skip_unreadable", _FIELDS["skip_unreadable"])]


def read(data: str, labels: Path | None, limit: int | None, preprocessing: Preprocessing) -> ImageSet:
    """Return the first ``limit`` images of ``data``, or all, prepared; print what was changed or left out."""
    from producer.images.source import read_images

    images = read_images(data, labels, preprocessing)
    print_notes(images)
    return images if limit is None else images.limit(limit)


def print_notes(images: ImageSet) -> None:
    """Print to standard error, in one line, what was changed or left out when ``images`` were read."""
    from producer.reports.terminal import screen

    if images.notes:
        screen().print(f"{images.name}: {'; '.join(images.notes)}", markup=False, soft_wrap=True)
