"""Inserts one row for each content of a network, as the next version of its name."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from producer.enqueued import Enqueued
from producer.networks.bundle import Bundle
from schema.codecs import arrays
from schema.database import Database, record_event
from schema.network import weights
from schema.parameters.choices import Origin
from schema.states import NetworkState
from schema.tables import Network

_T = TypeVar("_T")

# A lost race was won by a producer that has committed since, so a few rounds are plenty.
_ROUNDS = 50


def install(database: Database, bundle: Bundle, origin: Origin) -> Enqueued:
    """Commit ``bundle`` as the next version of its name in ``database``, or find the row of the same content.

    ``origin`` says where it came from.
    """
    described = bundle.description
    plan = {
        "architecture": described.architecture.to_dict(),
        "classes": list(described.classes),
        "training": {**described.training, "origin": origin.value},
    }
    values = {
        **plan,
        "name": described.architecture.name,
        "state": NetworkState.READY,
        "content_sha256": arrays.digest(arrays.canonical(plan), bundle.data),
        **described.architecture.input.image_shape.row(),
        "weights": bundle.data,
        "weights_sha256": weights.digest(bundle.data),
        "metrics": described.metrics,
    }
    return find_or_insert(
        database, lambda session: _find_or_insert_bundle(session, values, origin, now=database.now(session))
    )


def insert_version(session: Session, values: dict[str, Any], *, now: datetime, why: str | None = None) -> int:
    """Insert ``values`` as the next version of their name, note ``why`` and ``now``; return the row's id.

    Raises:
        IntegrityError: another producer took the version, or committed the same content, first.
    """
    newest = select(func.coalesce(func.max(Network.version), 0)).where(Network.name == values["name"])
    row = {**values, "version": session.execute(newest).scalar_one() + 1, "created_at": now}
    network: int = session.execute(insert(Network).values(row).returning(Network.id)).scalar_one()
    record_event(session, "networks", network, None, row["state"], now=now, why=why)
    return network


def find_or_insert(database: Database, act: Callable[[Session], _T]) -> _T:
    """Run ``act``, which finds or inserts a row, in a transaction of ``database``; again after a lost race.

    In the next round it finds the row that the other producer has committed, or takes the version after it.
    """
    for _ in range(_ROUNDS - 1):
        try:
            with database.transaction() as session:
                return act(session)
        except IntegrityError:
            continue
    with database.transaction() as session:
        return act(session)


def _find_or_insert_bundle(
    session: Session, values: dict[str, Any], origin: Origin, *, now: datetime
) -> Enqueued:
    same = select(Network.id).where(Network.content_sha256 == values["content_sha256"])
    row_id = session.execute(same).scalar()
    if row_id is not None:
        # Bytes that differ under the digest of their content are damaged.
        repaired = {name: values[name] for name in ("weights", "weights_sha256")}
        damaged = (Network.id == row_id, Network.weights != values["weights"])
        session.execute(update(Network).where(*damaged).values(repaired))
        return Enqueued(row_id, created=False)
    row = {**values, "finished_at": now}
    return Enqueued(insert_version(session, row, now=now, why=origin.value), created=True)
