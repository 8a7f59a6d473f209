"""Deletes a backbone that no network uses."""

from __future__ import annotations

from sqlalchemy import delete, or_, select
from sqlalchemy.orm import Session

from producer.backbones.queries import BackboneSummary, backbone_by_name
from schema.database import Database
from schema.database.transitions import record_action
from schema.errors import BackboneError
from schema.network.sources import MAX_SOURCES
from schema.tables import Backbone, Network

_LISTED = 5


def delete_backbone(database: Database, name: str) -> BackboneSummary:
    """Delete the backbone ``name`` from ``database``, with its file, and return what it was.

    Raises:
        NotFound: there is none.
        BackboneError: networks use it.
    """
    with database.transaction() as session:
        found = backbone_by_name(session, name)
        if users := networks_with(session, found.sha256):
            listed = ", ".join(users[:_LISTED]) + (", ..." if len(users) > _LISTED else "")
            raise BackboneError(
                f"backbone {name!r} is used by {listed}: remove these first, `annealq networks remove`"
            )
        session.execute(delete(Backbone).where(Backbone.id == found.backbone_id))
        record_action(session, "backbones", found.backbone_id, "deleted", now=database.now(session))
        return found


def networks_with(session: Session, sha256: str) -> list[str]:
    """Return NAME@VERSION of the networks in ``session`` that the backbone ``sha256`` is a first layer of."""
    blocks = [Network.architecture, *(Network.architecture["source"][k] for k in range(MAX_SOURCES))]
    begins = or_(*(block["features"][0]["sha256"].as_string() == sha256 for block in blocks))
    rows = session.execute(select(Network.name, Network.version).where(begins).order_by(Network.id))
    return [f"{row.name}@{row.version}" for row in rows]
