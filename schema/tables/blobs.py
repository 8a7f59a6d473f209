"""Tables of long rows: images, raw reads, and what was drawn of runs; written once.

States are stored in other tables, because SQLite rewrites the whole row when one word in it changes.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from schema.tables.columns import Base, Key


class TrainingSet(Base):
    """Images and labels to train on, addressed by their content and shared by networks."""

    __tablename__ = "training_sets"

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64), unique=True)  # see `schema.codecs.arrays`
    name: Mapped[str] = mapped_column(Text)  # of the data set
    data: Mapped[dict[str, Any] | None]  # where it came from, as it was named
    count: Mapped[int]  # of images
    shape: Mapped[str] = mapped_column(String(32))  # of an image: see `schema.shapes.ImageShape`
    dtype: Mapped[str] = mapped_column(String(16))  # of its values: uint8 or float32
    images: Mapped[bytes]  # images of that shape, C order, little-endian, zlib
    labels: Mapped[bytes]  # (count,) little-endian int16
    created_at: Mapped[datetime]

    __table_args__ = (CheckConstraint("count > 0", name="sizes_positive"),)


class BatchImages(Base):
    """The images of a batch, or where they are, and their labels."""

    __tablename__ = "batch_images"

    batch_id: Mapped[int] = mapped_column(
        ForeignKey("batches.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    images: Mapped[bytes]  # images of that shape, C order, little-endian
    images_sha256: Mapped[str] = mapped_column(String(64))  # of ``images``, then ``labels``
    labels: Mapped[bytes | None]  # (count,) little-endian int16
    sources: Mapped[list[str] | None]  # a file name for each image
    # Rows of a file that are read instead of ``images``, which are empty then: see `schema.shards.reference`.
    reference: Mapped[dict[str, Any] | None]


class SampleSet(Base):
    """The raw reads of one problem as the solver returned them; see `schema.codecs.samples`."""

    __tablename__ = "sample_sets"

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    problem_id: Mapped[int] = mapped_column(ForeignKey("problems.id", ondelete="CASCADE"), unique=True)
    codec: Mapped[int]  # version of the format of ``data``
    reads: Mapped[int]  # of each image
    variables: Mapped[int]  # bits of a read
    data: Mapped[bytes]


class Rendering(Base):
    """A report or a chart of a run, computed once and served again while its content is the same."""

    __tablename__ = "renderings"

    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    kind: Mapped[str] = mapped_column(String(64), primary_key=True)  # report, energies/IMAGE, ...
    content_sha256: Mapped[str] = mapped_column(String(64))  # of everything that decides it
    media_type: Mapped[str] = mapped_column(String(64))
    body: Mapped[bytes]
    created_at: Mapped[datetime]
