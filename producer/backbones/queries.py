"""Read-only queries on backbones; rows are returned as frozen dataclasses."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from schema.errors import NotFound
from schema.network.backbones import PixelScale
from schema.tables import Backbone, BackboneFile


@dataclass(frozen=True)
class BackboneSummary:
    """A backbone as `backbones list` and `backbones show` print it."""

    backbone_id: int
    name: str
    sha256: str
    size: int  # height and width of its pictures, pixels
    scale: PixelScale
    features: int  # values of a feature vector
    bytes: int  # of its file
    nodes: int
    parameters: int
    operators: dict[str, int]
    seconds: float  # of a processor for one picture, when it was checked
    created_at: datetime

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return asdict(self)


def backbones(session: Session) -> list[BackboneSummary]:
    """Return all backbones in ``session``, by name."""
    return [_summary(row) for row in session.execute(_query().order_by(Backbone.name))]


def backbone_by_name(session: Session, name: str) -> BackboneSummary:
    """Return the backbone ``name`` in ``session``; raise NotFound if there is none."""
    row = session.execute(_query().where(Backbone.name == name)).first()
    if row is None:
        names = ", ".join(session.execute(select(Backbone.name).order_by(Backbone.name)).scalars()) or "none"
        raise NotFound(
            f"no backbone {name!r:.80}; there are: {names}. Import one: `annealq backbones import FILE.onnx`"
        )
    return _summary(row)


def find_by_sha256(session: Session, sha256: str) -> BackboneSummary | None:
    """Return the backbone in ``session`` whose file has ``sha256``, or None."""
    row = session.execute(_query().where(Backbone.sha256 == sha256)).first()
    return None if row is None else _summary(row)


def _query() -> Select[Any]:
    size = func.length(BackboneFile.data).label("bytes")
    return select(Backbone, size).join(BackboneFile, BackboneFile.backbone_id == Backbone.id)


def _summary(row: Any) -> BackboneSummary:
    found: Backbone = row.Backbone
    return BackboneSummary(
        backbone_id=found.id,
        name=found.name,
        sha256=found.sha256,
        size=found.size,
        scale=PixelScale.from_lists(found.scale["mean"], found.scale["std"]),
        features=found.features,
        bytes=row.bytes,
        nodes=found.facts["nodes"],
        parameters=found.facts["parameters"],
        operators=found.facts["operators"],
        seconds=found.facts["seconds"],
        created_at=found.created_at,
    )
