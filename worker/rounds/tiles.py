"""Finds the tiles on which the images of a batch lay before, so that they lie on others now."""

from __future__ import annotations

from bisect import bisect_left

from sqlalchemy import select
from sqlalchemy.orm import Session

from schema.codecs import arrays
from schema.states import ProblemState
from schema.tables import Batch, Problem
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
    row_of = {number: row for row, number in enumerate(batch_input.image_numbers)}
    columns = (Problem.first_image, Problem.count, Problem.first_tile, Batch.id)
    query = select(*columns, Batch.first_image, Batch.count, Batch.members)
    query = query.join(Batch, Batch.id == Problem.batch_id).where(
        Batch.run_id == batch_input.run,
        Batch.round < batch_input.round,
        Problem.state == ProblemState.ANSWERED,
        Problem.embedding_id == embedding,
    )
    ascending = sorted(row_of)
    numbers: dict[int, list[int]] = {}
    for first, count, tile, batch, start, size, members in session.execute(query.order_by(Problem.id)):
        if members is None:  # contiguous images: few of a run's problems are searched through
            low, high = (bisect_left(ascending, start + first + shift) for shift in (0, count))
            found += [
                (row_of[number], 1, (tile + number - start - first) % tiles) for number in ascending[low:high]
            ]
            continue
        if batch not in numbers:
            numbers[batch] = list(arrays.image_numbers(start, size, members))
        for place, number in enumerate(numbers[batch][first : first + count]):
            if number in row_of:
                found.append((row_of[number], 1, (tile + place) % tiles))
    return found
