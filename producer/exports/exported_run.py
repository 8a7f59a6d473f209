"""Reads what is written of a run: its classified images with their results, a batch at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement
from sqlalchemy.orm import Session

from producer.runs import queries, results
from schema.errors import NotFound, ParameterError
from schema.shapes import ImageShape

Item = tuple[dict[str, Any], NDArray[Any]]
"""The row of an image, as `results.nested` returns it, and its values."""


@dataclass(frozen=True)
class ExportedRun:
    """A run, and those of its images that are written.

    Attributes:
        run_id: its number.
        network: ``NAME@VERSION``.
        classes: names of the classes, in the order of labels and scores.
        shape: of an image.
        white: the largest value of a pixel.
        about: what files say of the run.
        images: in order; they are read while they are written.
    """

    run_id: int
    network: str
    classes: tuple[str, ...]
    shape: ImageShape
    white: int
    about: dict[str, Any]
    images: Iterator[Item]


def read_run(
    session: Session,
    run: int,
    wanted: Sequence[ColumnElement[bool]] = (),
    on_progress: Callable[[int], None] = lambda _: None,
    end: int | None = None,
) -> ExportedRun:
    """Return the classified images of ``run`` and what is said of them, read by ``session``.

    Args:
        wanted: conditions on images, as of `producer.runs.filters.image_conditions`.
        on_progress: called with the number of images that were read since the last call.
        end: only images before this index; None: all.

    Raises:
        NotFound: there is no such run, or none of its images is wanted.
    """
    summary, names = queries.run(session, run), queries.classes(session, run)

    def items() -> Iterator[Item]:
        for row, values in results.rows_with_images(session, run, names, wanted, end):
            yield results.nested(row, names), values
            on_progress(1)

    images = items()
    first = next(images, None)
    if first is None:
        raise NotFound(
            f"run {run} has no such images: `annealq runs show {run}` counts them"
            if wanted
            else f"run {run} has no classified images yet: `annealq runs watch {run}`"
        )
    return ExportedRun(
        run,
        summary.network,
        names,
        ImageShape.of(np.expand_dims(first[1], 0)),
        queries.white_of(session, run),
        results.about(session, summary),
        chain([first], images),
    )


def require_pixels(run: ExportedRun, tool: str) -> None:
    """Raise ParameterError if the images of ``run`` are vectors, which ``tool`` cannot show."""
    if run.shape.is_vector:
        raise ParameterError(
            f"run {run.run_id} has {run.shape.words}, which {tool} cannot show: "
            "choose the format huggingface, or parquet"
        )
