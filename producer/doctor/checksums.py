"""Checks every stored byte against its checksum: page by page, with one row per page if rows are long."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, func, select, tuple_
from sqlalchemy.orm import InstrumentedAttribute, Session

from producer.doctor import relations
from producer.doctor.finding import BACKUP, Finding
from schema.codecs import arrays, chip_graphs, features, image_digests, nonconformity, samples, tiling
from schema.database import Database
from schema.errors import Corrupt, NetworkError, ShardError
from schema.network import weights
from schema.network.architecture import Architecture
from schema.quantities import count_text
from schema.shards.reference import encoded_images
from schema.states import EmbeddingState
from schema.tables import (
    Backbone,
    BackboneFile,
    Base,
    Batch,
    BatchImages,
    Calibration,
    Chip,
    Classification,
    Embedding,
    FeaturePart,
    FeatureSet,
    Network,
    Problem,
    Run,
    SampleSet,
    TrainingSet,
)

CHECKSUMS = "checksums"

OnProgress = Callable[[int], None]


@dataclass(frozen=True)
class StoredBytes:
    """Bytes of one table.

    Attributes:
        columns: columns to read, also those of `joined` tables.
        check: raises Corrupt if the bytes of a row are damaged.
        hint: what to do about damage, with the row's number as {}.
        where: which rows have such bytes.
        page: rows read at once.
    """

    table: type[Base]
    columns: tuple[InstrumentedAttribute[Any], ...]
    check: Callable[[Any], object]
    hint: str
    where: ColumnElement[bool] | None = None
    page: int = 1
    joined: tuple[tuple[type[Base], ColumnElement[bool]], ...] = ()

    @property
    def key(self) -> list[InstrumentedAttribute[Any]]:
        return [getattr(self.table, column.name) for column in self.table.__table__.primary_key]

    def count(self, session: Session) -> int:
        query = select(func.count()).select_from(self.table)
        return session.execute(query if self.where is None else query.where(self.where)).scalar_one()


def count(session: Session) -> int:
    """Return the number of rows that `checksums` reads in ``session``."""
    return sum(stored.count(session) for stored in ALL_STORED)


def checksums(database: Database, on_progress: OnProgress) -> Iterator[Finding]:
    """Check every row in ``database`` that holds bytes; call ``on_progress`` with the number of rows read.

    It needs memory for the longest decoded row.
    """
    for stored in ALL_STORED:
        for rows in _pages(database, stored):
            for row in rows:
                if (error := _damage(stored, row)) is not None:
                    yield _finding(database, stored, row, error)
            on_progress(len(rows))


def _pages(database: Database, stored: StoredBytes) -> Iterator[Sequence[Any]]:
    key = stored.key
    query = select(*key, *stored.columns).select_from(stored.table).order_by(*key).limit(stored.page)
    for table, on in stored.joined:
        query = query.join(table, on)
    if stored.where is not None:
        query = query.where(stored.where)
    last: tuple[Any, ...] | None = None
    while True:
        # A transaction for each page: the check may take long, and must not block clean-ups.
        with database.reading() as session:
            after = query if last is None else query.where(tuple_(*key) > last)
            rows = session.execute(after).all()
        if not rows:
            return
        yield rows
        last = tuple(rows[-1][: len(key)])


def _damage(stored: StoredBytes, row: Any) -> Corrupt | None:
    try:
        stored.check(row)
    except Corrupt as error:
        return error
    return None


def _finding(database: Database, stored: StoredBytes, row: Any, error: Corrupt) -> Finding:
    name = stored.table.__tablename__
    if stored.table is SampleSet:
        with database.reading() as session:
            owner = relations.owner(session, row.id)
        if owner is not None:
            return relations.unreadable(owner, CHECKSUMS, name, row.id, str(error))
    what = f"image {row.image}: {error}" if stored.table is Classification else str(error)
    hint = f"{BACKUP}, or {stored.hint.format(row[0])}"
    if isinstance(error, ShardError):
        hint = "its images are in that file, and not in the database; `annealq runs resume` samples them then"
    return Finding(CHECKSUMS, name, row[0], what, hint)


def _batch(row: Any) -> None:
    shape = arrays.read_shape(row.shape, row.dtype)
    images = encoded_images(row.images, row.reference)
    arrays.decode_images(images, row.count, shape, row.images_sha256, row.labels)
    if row.labels is not None:
        arrays.decode_labels(row.labels, row.count)


def _members(row: Any) -> None:
    members = arrays.decode_members(row.members, row.count)
    if (last := int(members.max())) >= row.images:
        raise Corrupt(f"it has image {last} of a run of {row.images:,}")


def _network(row: Any) -> None:
    if arrays.checksum(row.weights) != row.weights_sha256:
        raise Corrupt("its weights are damaged: their checksum does not match")
    try:
        weights.decode(row.weights, Architecture.from_dict(row.architecture))
    except NetworkError as error:
        raise Corrupt(f"its weights cannot be used: {error}") from None


def _backbone(row: Any) -> None:
    if hashlib.sha256(row.data).hexdigest() != row.sha256:
        raise Corrupt("its file is damaged: its checksum does not match")


def _calibration(row: Any) -> None:
    image_digests.unseal(row.image_digests, row.images)
    if row.nonconformity is not None:
        scores = nonconformity.decode(row.nonconformity)
        if len(scores.labels) != row.images:
            images = count_text(len(scores.labels), "image")
            raise Corrupt(f"it holds the nonconformity of {images}, but its row says {row.images:,}")


def _classification(row: Any) -> None:
    classes = len(row.classes)
    arrays.decode_scores([data for data in (row.scores, row.probabilities) if data is not None], classes)
    if row.class_set is not None and arrays.decode_class_sets([row.class_set], classes).sum() != row.set_size:
        raise Corrupt("its set of classes is damaged: it has another size than its row says")


def _embedding(row: Any) -> None:
    decoded = tiling.decode(row.tiling)
    expected = (row.tiles, row.units, row.qubits, row.longest_chain)
    if expected != (decoded.tiles, decoded.units, len(decoded.qubits), decoded.longest_chain):
        raise Corrupt("the tiling does not match its row")


def _sample_set(row: Any) -> None:
    sample_set = samples.decode(row.data)
    reads = sample_set.packed.shape[1]
    if (reads, sample_set.variables) != (row.reads, row.variables):
        raise Corrupt(f"it holds {count_text(reads, 'read')}, but its row says {row.reads}")


ALL_STORED = (
    StoredBytes(
        TrainingSet,
        (TrainingSet.images, TrainingSet.labels, TrainingSet.count, TrainingSet.shape, TrainingSet.dtype,
         TrainingSet.sha256),
        lambda row: arrays.decode_training_set(
            row.images, row.labels, row.count, arrays.read_shape(row.shape, row.dtype), row.sha256
        ),
        "train with the same images again: `annealq networks train`",
    ),
    StoredBytes(
        Network,
        (Network.weights, Network.weights_sha256, Network.architecture),
        _network,
        "import or train the network again",
        where=Network.weights.is_not(None),
    ),
    StoredBytes(
        Calibration,
        (Calibration.image_digests, Calibration.images, Calibration.nonconformity),
        _calibration,
        "use `--no-calibration`, and calibrate again",
        page=100,
    ),
    StoredBytes(
        Chip,
        (Chip.graph, Chip.qubits, Chip.couplers),
        lambda row: chip_graphs.decode(row.graph, row.qubits, row.couplers),
        "ask the solver again: `annealq embeddings find`",
    ),
    StoredBytes(
        Embedding,
        (Embedding.tiling, Embedding.tiles, Embedding.units, Embedding.qubits, Embedding.longest_chain),
        _embedding,
        "choose another --tiles for new runs",
        where=Embedding.state == EmbeddingState.READY,
    ),
    StoredBytes(
        BatchImages,
        (BatchImages.images, BatchImages.reference, BatchImages.labels,
         BatchImages.images_sha256, Batch.count, Batch.shape,
         Batch.dtype),
        _batch,
        "classify the images again",
        joined=((Batch, Batch.id == BatchImages.batch_id),),
    ),
    StoredBytes(
        Batch,
        (Batch.members, Batch.count, Run.images),
        _members,
        "classify the images again",
        where=Batch.members.is_not(None),
        page=20,
        joined=((Run, Run.id == Batch.run_id),),
    ),
    StoredBytes(
        Problem,
        (Problem.chain_breaks, Problem.count),
        lambda row: arrays.decode_chain_breaks(row.chain_breaks, row.count),
        "score the run again: `annealq runs rescore`",
        where=Problem.chain_breaks.is_not(None),
        page=20,
    ),
    StoredBytes(
        BackboneFile,
        (BackboneFile.data, Backbone.sha256),
        _backbone,
        "delete the backbone and import its file again: `annealq backbones`",
        joined=((Backbone, Backbone.id == BackboneFile.backbone_id),),
    ),
    StoredBytes(
        FeaturePart,
        (FeaturePart.data, FeaturePart.count, FeatureSet.features),
        lambda row: features.decode_features(row.data, row.count, row.features),
        "remove it, and it is computed again: `annealq backbones prune --all`",
        joined=((FeatureSet, FeatureSet.id == FeaturePart.feature_set_id),),
    ),
    StoredBytes(
        SampleSet,
        (SampleSet.data, SampleSet.reads, SampleSet.variables),
        _sample_set,
        "classify the images again",
    ),
    StoredBytes(
        Classification,
        (Classification.scores, Classification.probabilities, Classification.class_set,
         Classification.set_size, Network.classes),
        _classification,
        "score the run again: `annealq runs rescore {}`",
        page=1000,
        joined=((Run, Run.id == Classification.run_id), (Network, Network.id == Run.network_id)),
    ),
)  # fmt: skip
