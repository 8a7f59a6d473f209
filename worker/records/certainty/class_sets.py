"""Stores sets of classes of images that are classified already."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Update, bindparam, update
from sqlalchemy.orm import Session

from schema.tables import Classification
from worker.records.batches import BatchInput, Scored

_STORE: Update = (
    update(Classification.__table__)  # type: ignore[arg-type]
    .where(Classification.run_id == bindparam("run_"), Classification.image == bindparam("image_"))
    .values(class_set=bindparam("set_"), set_size=bindparam("size_"))
)


def store_sets(session: Session, batch_input: BatchInput, rows: Mapping[int, Scored]) -> None:
    """Store the sets of classes in ``rows``, by image within the batch ``batch_input``, in ``session``.

    Nothing else of the images changes.
    """
    numbers = batch_input.image_numbers
    values = [
        {
            "run_": batch_input.run,
            "image_": numbers[k],
            "set_": rows[k].class_set,
            "size_": rows[k].set_size,
        }
        for k in sorted(rows)
    ]
    if values:
        session.connection().execute(_STORE, values)
