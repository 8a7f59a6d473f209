"""Tables of backbones, and of the feature vectors that they make of pictures."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from schema.states import FeatureSetState
from schema.tables.columns import Base, Key, Leased, known


class Backbone(Base):
    """A backbone that was checked when it was imported; it does not change afterwards."""

    __tablename__ = "backbones"

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    sha256: Mapped[str] = mapped_column(String(64), unique=True)  # of its file
    size: Mapped[int]  # height and width of its pictures, pixels, that it was checked with
    scale: Mapped[dict[str, Any]]  # mean and std of each channel; see `schema.network.backbones`
    features: Mapped[int]  # values of a feature vector
    facts: Mapped[
        dict[str, Any]
    ]  # nodes, parameters, operators and processor seconds, as the check found them
    created_at: Mapped[datetime]

    __table_args__ = (CheckConstraint("size > 0 AND features > 0", name="sizes_positive"),)


class BackboneFile(Base):
    """The ONNX file of a backbone."""

    __tablename__ = "backbone_files"

    backbone_id: Mapped[int] = mapped_column(
        ForeignKey("backbones.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    data: Mapped[bytes]


class FeatureSet(Leased, Base):
    """Feature vectors of the pictures of a batch or a training set, shared by all that need the same."""

    __tablename__ = "feature_sets"

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    images_sha256: Mapped[str] = mapped_column(String(64))  # as the batch or the training set has it
    recipe_sha256: Mapped[str] = mapped_column(String(64))  # of what makes vectors of pictures
    backbone_id: Mapped[int] = mapped_column(ForeignKey("backbones.id", ondelete="CASCADE"))
    recipe: Mapped[dict[str, Any]]  # see `schema.network.recipes`
    count: Mapped[int]  # of pictures
    features: Mapped[int]  # values of a vector
    state: Mapped[FeatureSetState]
    dispatched_at: Mapped[datetime | None]  # of the latest hint
    seconds: Mapped[float | None]  # of processors, for those that the last attempt computed
    computed: Mapped[int | None]  # vectors that it computed; the others were there
    finished_at: Mapped[datetime | None]

    __table_args__ = (
        UniqueConstraint("images_sha256", "recipe_sha256"),
        Index(None, "state"),
        Index(None, "backbone_id"),
        known(FeatureSetState),
        CheckConstraint("count > 0 AND features > 0", name="sizes_positive"),
        CheckConstraint("state <> 'computing' OR lease_until IS NOT NULL", name="computing_has_lease"),
        CheckConstraint("state <> 'ready' OR finished_at IS NOT NULL", name="ready_has_time"),
        CheckConstraint("state <> 'failed' OR error IS NOT NULL", name="failed_says_why"),
    )


class BatchFeatures(Base):
    """That a batch needs a feature set of its images: one for each backbone of its network, until pruned."""

    __tablename__ = "batch_features"

    batch_id: Mapped[int] = mapped_column(
        ForeignKey("batches.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    feature_set_id: Mapped[int] = mapped_column(
        ForeignKey("feature_sets.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )

    __table_args__ = (Index(None, "feature_set_id"),)


class NetworkFeatures(Base):
    """That a network is trained on a feature set of its training set, one for each backbone, until pruned."""

    __tablename__ = "network_features"

    network_id: Mapped[int] = mapped_column(
        ForeignKey("networks.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    feature_set_id: Mapped[int] = mapped_column(
        ForeignKey("feature_sets.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )

    __table_args__ = (Index(None, "feature_set_id"),)


class FeaturePart(Base):
    """Some of the vectors of a feature set; written once."""

    __tablename__ = "feature_parts"

    feature_set_id: Mapped[int] = mapped_column(
        ForeignKey("feature_sets.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    first: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)  # picture, from 0
    count: Mapped[int]  # of pictures
    data: Mapped[bytes]  # see `schema.codecs.features`
