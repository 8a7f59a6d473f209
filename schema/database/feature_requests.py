"""Asks for the feature vectors that a network with a backbone needs before it can be trained or sampled."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from schema.database.transitions import record_event, transition, transition_all
from schema.errors import BackboneError
from schema.network.architecture import Architecture
from schema.network.recipes import Recipe
from schema.states import FeatureSetState
from schema.tables import Backbone, Batch, FeatureSet, Network

# A batch is due at once when its vectors are there. If nobody says so, it is looked at after this time.
WAITS = timedelta(hours=1)

_AFRESH: dict[str, Any] = {"attempts": 0, "error": None, "dispatched_at": None, "finished_at": None}


@dataclass(frozen=True)
class FeatureRequest:
    """Vectors by ``recipe`` of the backbone in row ``backbone`` of its table."""

    backbone: int
    recipe: Recipe

    def ask(self, session: Session, images_sha256: str, count: int, *, now: datetime) -> tuple[int, bool]:
        """Return the feature set of ``count`` images with this digest, and whether it is ready.

        It is inserted by ``session`` if there is none, and enqueued again if it has failed.
        """
        values = {
            "images_sha256": images_sha256,
            "recipe_sha256": self.recipe.digest,
            "backbone_id": self.backbone,
            "recipe": self.recipe.to_dict(),
            "count": count,
            "features": self.recipe.features,
            "state": FeatureSetState.QUEUED,
            "fence": 0,
            "attempts": 0,
            "created_at": now,
        }
        insert = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
        new = insert(FeatureSet).values(values).on_conflict_do_nothing().returning(FeatureSet.id)
        if (inserted := session.execute(new).scalar()) is not None:
            record_event(session, "feature_sets", inserted, None, FeatureSetState.QUEUED, now=now)
            return inserted, False
        same = (FeatureSet.images_sha256 == images_sha256, FeatureSet.recipe_sha256 == self.recipe.digest)
        row = session.execute(select(FeatureSet.id, FeatureSet.state).where(*same)).one()
        if row.state is FeatureSetState.FAILED:
            move = (session, row.id, FeatureSetState.FAILED, FeatureSetState.QUEUED)
            transition(*move, now=now, why="asked again", **_AFRESH)
        return row.id, row.state is FeatureSetState.READY


def feature_request(session: Session, network: int) -> FeatureRequest | None:
    """Return what is asked for images of the row ``network``, or None if it has no backbone.

    Raises:
        BackboneError: its backbone was deleted.
    """
    architecture = session.execute(select(Network.architecture).where(Network.id == network)).scalar_one()
    features = architecture.get("features") or [{}]
    return (
        None
        if features[0].get("kind") != "backbone"
        else request_of(session, Architecture.from_dict(architecture))
    )


def request_of(session: Session, architecture: Architecture) -> FeatureRequest | None:
    """Return what is asked for images of a network of ``architecture``, or None if it has no backbone.

    Raises:
        BackboneError: its backbone was not imported, or gives other vectors.
    """
    layer = architecture.backbone
    if layer is None:
        return None
    query = select(Backbone.id, Backbone.features).where(Backbone.sha256 == layer.sha256)
    row = session.execute(query).first()
    if row is None:
        raise BackboneError(
            f"network {architecture.name!r} needs a backbone with sha256 {layer.sha256[:12]}..., which "
            "is not here: import its file, `annealq backbones import FILE.onnx`"
        )
    if row.features != layer.values:
        raise BackboneError(
            f"network {architecture.name!r} expects {layer.values} values of its backbone, which gives "
            f"{row.features}: write values = {row.features}"
        )
    return FeatureRequest(row.id, Recipe.of(layer))


def ask_again(session: Session, run: int, *, now: datetime) -> None:
    """Enqueue the failed vectors of batches of ``run`` again, by ``session`` at ``now``."""
    batches = select(Batch.id).where(Batch.feature_set_id == FeatureSet.id, Batch.run_id == run)
    failed, queued = FeatureSetState.FAILED, FeatureSetState.QUEUED
    transition_all(session, batches.exists(), failed, queued, now=now, why="resumed", **_AFRESH)


def wait_columns(
    session: Session, request: FeatureRequest | None, images_sha256: str, count: int, *, now: datetime
) -> dict[str, Any]:
    """Return the columns of a new batch whose vectors are asked for; it is due when they are computed.

    Args:
        session: where they are asked for.
        request: what is asked; None: nothing.
        images_sha256, count: of the images of the batch.
        now: time of the request.
    """
    if request is None:
        return {}
    asked, is_ready = request.ask(session, images_sha256, count, now=now)
    return {"feature_set_id": asked} if is_ready else {"feature_set_id": asked, "due_at": now + WAITS}
