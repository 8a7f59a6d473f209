"""Reads probabilities and sets of classes of the labelled images of a run, page by page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlalchemy import case, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from schema.tables import Classification

_PAGE = 10_000  # images read at once

Pages = Iterator[tuple[list[bytes], Sequence[int]]]  # stored bytes of images, and their labels


def probabilities(session: Session, run: int) -> Pages:
    """Yield the stored probabilities of all classes, and the labels, of images of ``run`` in ``session``.

    Images that an earlier version scored are left out.
    """
    return _pages(session, run, Classification.probabilities)


def class_sets(session: Session, run: int) -> Pages:
    """Yield the stored sets of classes, and the labels, of images of ``run`` in ``session``."""
    return _pages(session, run, Classification.class_set)


def class_counts(session: Session, run: int) -> list[tuple[int, int]]:
    """Read from ``session`` for each class of ``run`` how many images have its label, and how many are right.

    Undecided images are wrong.
    """
    c = Classification
    right = func.count(case((c.predicted == c.label, 1)))
    query = select(func.count(), right).where(c.run_id == run, c.label.is_not(None))
    return [(images, found) for images, found in session.execute(query.group_by(c.label).order_by(c.label))]


def set_sizes(session: Session, run: int) -> dict[int, int]:
    """Read from ``session`` how many images of ``run``, with labels or without, have sets of each size."""
    c = Classification
    query = select(c.set_size, func.count()).where(c.run_id == run, c.set_size.is_not(None))
    rows = session.execute(query.group_by(c.set_size).order_by(c.set_size))
    return {size: images for size, images in rows if size is not None}


def _pages(session: Session, run: int, column: InstrumentedAttribute[bytes | None]) -> Pages:
    c = Classification
    query = select(c.image, column.label("stored"), c.label)
    query = query.where(c.run_id == run, c.label.is_not(None), column.is_not(None))
    last = -1
    while rows := session.execute(query.where(c.image > last).order_by(c.image).limit(_PAGE)).all():
        yield [row.stored or b"" for row in rows], [row.label or 0 for row in rows]
        last = rows[-1].image
