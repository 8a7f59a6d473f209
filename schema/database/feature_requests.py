"""Asks for the feature vectors that a network with backbones needs before it can be trained or sampled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from schema.database.rows import insert_into
from schema.database.transitions import record_event, transition, transition_all
from schema.errors import BackboneError
from schema.network.architecture import Architecture
from schema.network.layers import FrozenBackbone
from schema.network.recipes import Recipe
from schema.states import FeatureSetState
from schema.tables import Backbone, Batch, BatchFeatures, FeatureSet, Network, NetworkFeatures

# A batch is due at once when its vectors are there. If nobody says so, it is looked at after this time.
WAITS = timedelta(hours=1)

_AFRESH: dict[str, Any] = {"attempts": 0, "error": None, "dispatched_at": None, "finished_at": None}


@dataclass(frozen=True)
class FeatureRequest:
    """Vectors by ``recipe`` of the backbone in row ``backbone`` of its table."""

    backbone: int
    recipe: Recipe

    def _ask(self, session: Session, images_sha256: str, count: int, *, now: datetime) -> tuple[int, bool]:
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
        insert = insert_into(session.get_bind().dialect, FeatureSet)
        new = insert.values(values).on_conflict_do_nothing().returning(FeatureSet.id)
        if (inserted := session.execute(new).scalar()) is not None:
            record_event(session, "feature_sets", inserted, None, FeatureSetState.QUEUED, now=now)
            return inserted, False
        same = (FeatureSet.images_sha256 == images_sha256, FeatureSet.recipe_sha256 == self.recipe.digest)
        row = session.execute(select(FeatureSet.id, FeatureSet.state).where(*same)).one()
        if row.state is FeatureSetState.FAILED:
            move = (session, row.id, FeatureSetState.FAILED, FeatureSetState.QUEUED)
            transition(*move, now=now, why="asked again", **_AFRESH)
        return row.id, row.state is FeatureSetState.READY


@dataclass(frozen=True)
class AskedFeatures:
    """The feature sets of the images of a batch or a network, and whether all of them are ready."""

    sets: tuple[int, ...]
    are_ready: bool

    def due_at(self, now: datetime) -> datetime:
        """Return when a batch that needs them is due, if it is inserted ``now``."""
        return now if self.are_ready else now + WAITS

    def links_to(self, table: type[BatchFeatures] | type[NetworkFeatures], row: int) -> list[dict[str, int]]:
        """Return the rows of ``table`` that say that the batch or network in ``row`` needs them."""
        key = "batch_id" if table is BatchFeatures else "network_id"
        return [{key: row, "feature_set_id": each} for each in self.sets]


def feature_requests(session: Session, network: int) -> tuple[FeatureRequest, ...]:
    """Return what is asked for images of the row ``network``: one request for each of its backbones.

    Raises:
        BackboneError: a backbone was deleted.
    """
    architecture = session.execute(select(Network.architecture).where(Network.id == network)).scalar_one()
    blocks = (architecture, *architecture.get("source", ()))
    firsts = [block["features"][0] for block in blocks if block.get("features")]
    if not any(layer["kind"] == "backbone" for layer in firsts):
        return ()
    return requests_of(session, Architecture.from_dict(architecture))


def requests_of(session: Session, architecture: Architecture) -> tuple[FeatureRequest, ...]:
    """Return what is asked for images of a network of ``architecture``: a request for each backbone.

    Raises:
        BackboneError: a backbone was not imported, or gives other vectors.
    """
    return tuple(_request(session, architecture, layer) for layer in architecture.backbones)


def ask(
    session: Session, requests: Sequence[FeatureRequest], images_sha256: str, count: int, *, now: datetime
) -> AskedFeatures:
    """Ask in ``session`` for the vectors of ``count`` images with this digest, by all ``requests``."""
    asked = [request._ask(session, images_sha256, count, now=now) for request in requests]
    return AskedFeatures(tuple(row for row, _ in asked), all(is_ready for _, is_ready in asked))


def _request(session: Session, architecture: Architecture, layer: FrozenBackbone) -> FeatureRequest:
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
    batches = (
        select(Batch.id)
        .join(BatchFeatures, BatchFeatures.batch_id == Batch.id)
        .where(BatchFeatures.feature_set_id == FeatureSet.id, Batch.run_id == run)
    )
    failed, queued = FeatureSetState.FAILED, FeatureSetState.QUEUED
    transition_all(session, batches.exists(), failed, queued, now=now, why="resumed", **_AFRESH)
