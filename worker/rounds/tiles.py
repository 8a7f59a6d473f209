"""Finds the tiles on which the images of a batch lay before, so that they lie on others now."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from schema.codecs import arrays
from schema.tables import Batch, Problem
from schema.tables.runs import is_answered
from worker.records import problems
from worker.records.batches import BatchInput


def earlier_tiles(
    session: Session, batch_input: BatchInput, embedding: int, tiles: int
) -> list[tuple[int, int, int]]:
    """Return where images of ``batch_input`` lay before, as `choose_tile` takes them: sent in vain, or in
    earlier rounds.

    Each entry is the first image within the batch, the number of images, and the tile of the first of the
    ``tiles`` of ``embedding``.

    Raises:
        Corrupt: which images are in a batch is damaged.
    """
    found = problems.sent_in_vain(session, batch_input.batch, embedding)
    if batch_input.round == 1:
        return found
    lay = tiles_of_images(
        session, batch_input.run, batch_input.round, batch_input.image_numbers, embedding, tiles
    )
    return found + [(place, 1, tile) for place, tile in lay]


def tiles_of_images(
    session: Session, run: int, before: int, images: Sequence[int], embedding: int, tiles: int
) -> list[tuple[int, int]]:
    """Return the place in ``images``, indices within ``run``, and the tile of each in rounds ``before`` one.

    ``session`` reads the answered problems with ``embedding``, of ``tiles`` tiles.

    Raises:
        Corrupt: which images are in a batch is damaged.
    """
    place_of = {image: place for place, image in enumerate(images)}
    columns = (Problem.first_image, Problem.count, Problem.first_tile, Batch.id)
    query = select(*columns, Batch.first_image, Batch.count, Batch.members)
    query = query.join(Batch, Batch.id == Problem.batch_id).where(
        Batch.run_id == run,
        Batch.round < before,
        is_answered(),
        Problem.embedding_id == embedding,
    )
    ascending = sorted(place_of)
    numbers: dict[int, Sequence[int]] = {}
    found = []
    for first, count, tile, batch, start, size, members in session.execute(query.order_by(Problem.id)):
        if members is None:  # contiguous images: few of a run's problems are searched through
            begin = start + first
            low, high = bisect_left(ascending, begin), bisect_left(ascending, begin + count)
            here = ascending[low:high]
            found += [(place_of[image], (tile + image - begin) % tiles) for image in here]
            continue
        if batch not in numbers:
            numbers[batch] = arrays.image_numbers(start, size, members)
        for place, image in enumerate(numbers[batch][first : first + count]):
            if image in place_of:
                found.append((place_of[image], (tile + place) % tiles))
    return found
