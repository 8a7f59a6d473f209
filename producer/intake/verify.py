"""Compares a source whose files have changed with the batches that were read from it."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import select
from sqlalchemy.orm import Session

from producer.intake.groups import groups, rows_of
from producer.intake.source import LargeSource, Part
from schema.database import Database
from schema.errors import ImageError
from schema.tables import Batch, BatchImages


def require_same_images(
    database: Database,
    run: int,
    source: LargeSource,
    match: Callable[[Part], Part],
    size: int,
    changed: str,
) -> None:
    """Read the images that ``run`` of ``database`` has once more, and compare their checksums.

    So files that were only copied, or repaired behind the rows that were read, may be read on.

    Args:
        match: makes what the network of the run takes of some images.
        size: images of a batch.
        changed: what is different about the files of ``source``.

    Raises:
        ImageError: the images, or labels, are others, or fewer; it names the first batch that differs.
    """
    with database.reading() as session:
        stored = _checksums(session, run)
    first = 0
    for group in groups(source.read(), size):
        for batch in rows_of(match(group), first, 0, size):
            if not stored:
                return
            known, sha256 = stored.pop(0)
            if known != batch.row["count"] or sha256 != batch.images["images_sha256"]:
                raise ImageError(_refusal(run, source, changed, first, first + known - 1))
            first += known
    if stored:
        raise ImageError(_refusal(run, source, changed, first, first + stored[0][0] - 1))


def _checksums(session: Session, run: int) -> list[tuple[int, str]]:
    """Return images and checksum of each batch of ``run`` of the first round."""
    query = (
        select(Batch.count.label("images"), BatchImages.images_sha256)
        .join(BatchImages, BatchImages.batch_id == Batch.id)
        .where(Batch.run_id == run, Batch.round == 1)
    )
    return [(count, sha256) for count, sha256 in session.execute(query.order_by(Batch.ordinal))]


def _refusal(run: int, source: LargeSource, changed: str, first: int, last: int) -> str:
    return (
        f"{source.name} has changed since run {run} began to read it ({changed}; images {first:,} to "
        f"{last:,} are others): restore it, or end the run by `annealq runs cancel {run}` and start another"
    )
