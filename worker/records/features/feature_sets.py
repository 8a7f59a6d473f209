"""Reads and writes of feature sets: who waits for them, the pictures, the parts that are stored."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, func, insert, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from schema.codecs import arrays, features
from schema.codecs.corruption import stored_in
from schema.errors import Corrupt
from schema.network.recipes import Recipe
from schema.shapes import ImageShape
from schema.states import FeatureSetState
from schema.tables import (
    Batch,
    BatchFeatures,
    BatchImages,
    FeaturePart,
    FeatureSet,
    Network,
    NetworkFeatures,
    Run,
    TrainingSet,
)

_AGAIN = "`annealq backbones prune --all` removes it, and it is computed again"


@dataclass(frozen=True)
class FeatureJob:
    """A feature set to compute; ``of_training`` says that its pictures are a training set."""

    feature_set: int
    backbone: int
    recipe: Recipe
    count: int
    of_training: bool


@dataclass(frozen=True, eq=False)
class StoredPictures:
    """The stored pictures of a feature set, as the batch or training set has them."""

    row: str  # that stores them, for messages
    images: bytes
    deflated: bool
    count: int
    shape: ImageShape
    sha256: str
    labels: bytes | None


def load_job(session: Session, feature_set: int) -> FeatureJob:
    """Read ``feature_set``, which exists, from ``session``."""
    row = session.get_one(FeatureSet, feature_set)
    trained = select(NetworkFeatures).where(NetworkFeatures.feature_set_id == feature_set).limit(1)
    of_training = session.execute(trained).first() is not None
    return FeatureJob(feature_set, row.backbone_id, Recipe.from_dict(row.recipe), row.count, of_training)


def load_pictures(session: Session, job: FeatureJob) -> StoredPictures:
    """Read the pictures of ``job`` from ``session``; raise Corrupt if they are missing."""
    if job.of_training:
        row: Any = session.execute(
            select(TrainingSet)
            .join(Network, Network.training_set_id == TrainingSet.id)
            .join(NetworkFeatures, NetworkFeatures.network_id == Network.id)
            .where(NetworkFeatures.feature_set_id == job.feature_set)
            .limit(1)
        ).scalar()
        if row is not None:
            shape = arrays.read_shape(row.shape, row.dtype)
            name = f"training set {row.id}"
            return StoredPictures(name, row.images, True, row.count, shape, row.sha256, row.labels)
    row = session.execute(
        select(Batch.id, Batch.count.label("count_"), Batch.shape, Batch.dtype, BatchImages)
        .join(BatchImages, BatchImages.batch_id == Batch.id)
        .join(BatchFeatures, BatchFeatures.batch_id == Batch.id)
        .where(BatchFeatures.feature_set_id == job.feature_set)
        .limit(1)
    ).first()
    if row is None:
        raise Corrupt(f"the pictures of feature set {job.feature_set} are missing: classify them again")
    stored: BatchImages = row.BatchImages
    shape = arrays.read_shape(row.shape, row.dtype)
    name = f"batch {row.id}"
    return StoredPictures(name, stored.images, False, row.count_, shape, stored.images_sha256, stored.labels)


def stored_until(session: Session, feature_set: int) -> int:
    """Return how many pictures of ``feature_set`` have vectors in ``session``: parts are stored in order."""
    end = func.max(FeaturePart.first + FeaturePart.count)
    return session.execute(select(end).where(FeaturePart.feature_set_id == feature_set)).scalar() or 0


def store_part(session: Session, feature_set: int, first: int, vectors: NDArray[np.float32]) -> None:
    """Store in ``session`` the ``vectors`` (n, D) of ``feature_set`` from picture ``first`` on."""
    session.execute(
        insert(FeaturePart).values(
            feature_set_id=feature_set,
            first=first,
            count=len(vectors),
            data=features.encode_features(vectors),
        )
    )


def sets_of_batch(session: Session, batch: int) -> dict[str, int]:
    """Return the feature sets in ``session`` that ``batch`` needs, by the digest of their recipe."""
    return _sets(session, BatchFeatures.feature_set_id, BatchFeatures.batch_id == batch)


def sets_of_network(session: Session, network: int) -> dict[str, int]:
    """Return the feature sets in ``session`` that ``network`` is trained on, by their recipe's digest."""
    return _sets(session, NetworkFeatures.feature_set_id, NetworkFeatures.network_id == network)


def _sets(session: Session, links: InstrumentedAttribute[int], own: ColumnElement[bool]) -> dict[str, int]:
    query = select(FeatureSet.recipe_sha256, FeatureSet.id).join(links.class_, links == FeatureSet.id)
    return {row.recipe_sha256: row.id for row in session.execute(query.where(own).order_by(FeatureSet.id))}


def load_vectors(session: Session, feature_set: int) -> NDArray[np.float16] | None:
    """Return the vectors (N, D) float16 of ``feature_set`` in ``session``; None: not all of them are there.

    Raises:
        Corrupt: a part is damaged.
    """
    columns = (FeatureSet.count.label("count_"), FeatureSet.features)
    is_ready = (FeatureSet.id == feature_set, FeatureSet.state == FeatureSetState.READY)
    row = session.execute(select(*columns).where(*is_ready)).first()
    if row is None:
        return None
    count, values = row
    vectors, done = np.empty((count, values), np.float16), 0
    part_columns = (FeaturePart.first, FeaturePart.count, FeaturePart.data)
    parts = select(*part_columns).where(FeaturePart.feature_set_id == feature_set).order_by(FeaturePart.first)
    with stored_in(f"feature set {feature_set}", _AGAIN):
        for first, size, data in session.execute(parts.execution_options(yield_per=8)):
            if first != done or first + size > count:
                raise Corrupt(f"the vectors from picture {done} on are missing")
            vectors[first : first + size] = features.decode_features(data, size, values)
            done += size
        if done != count:
            raise Corrupt(f"the vectors from picture {done} on are missing")
    return vectors


def error_of(session: Session, sets: Collection[int]) -> str | None:
    """Return why one of the feature ``sets`` in ``session`` failed; None: none has."""
    query = select(FeatureSet.error).where(
        FeatureSet.id.in_(sets), FeatureSet.state == FeatureSetState.FAILED
    )
    return session.execute(query.order_by(FeatureSet.id).limit(1)).scalar() if sets else None


def figures_of(session: Session, run: int) -> dict[str, Any] | None:
    """Return what the vectors of ``run`` in ``session`` cost; None: its network has no backbone.

    ``images`` have one vector by each of that many ``backbones``. Of these vectors those in ``computed`` were
    computed for this run, in ``seconds`` of processors; the others were stored.
    """
    own = select(BatchFeatures.feature_set_id).join(Batch, Batch.id == BatchFeatures.batch_id)
    own = own.where(Batch.run_id == run)
    begun = select(Run.created_at).where(Run.id == run).scalar_subquery()
    is_new = FeatureSet.started_at >= begun
    row = session.execute(
        select(
            func.sum(FeatureSet.count),
            func.count(FeatureSet.recipe_sha256.distinct()),
            func.sum(FeatureSet.computed).filter(is_new),
            func.sum(FeatureSet.seconds).filter(is_new),
        ).where(FeatureSet.id.in_(own))
    ).one()
    vectors, backbones, computed, seconds = row
    if vectors is None:
        return None
    return {
        "images": int(vectors) // backbones,
        "backbones": backbones,
        "computed": int(computed or 0),
        "seconds": float(seconds or 0.0),
    }
