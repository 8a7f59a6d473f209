"""Tables of backbones: frozen networks that turn pictures into feature vectors."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from schema.tables.columns import Base, Key


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
