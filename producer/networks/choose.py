"""Finds the network that a user means, among their own and those that come with annealq."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, and_, or_, select
from sqlalchemy.orm import Session

from producer.networks import shipped
from producer.networks.bundle import Bundle
from producer.networks.chosen import ChosenNetwork
from producer.networks.queries import is_shipped, parse
from schema.database import Database
from schema.errors import NetworkError
from schema.states import NetworkState
from schema.tables import Network


def find_shipped(database: Database, wanted: str | None, height: int, width: int) -> Bundle | None:
    """The shipped network that is meant: by `NAME` without version, or by default for images of this size.

    None: there is none, or the database has a network of the user's own that goes before.

    Raises:
        NetworkError: its files are damaged.
    """
    name = shipped.fitting(height, width) if wanted is None else wanted
    if name is None or name not in shipped.names():
        return None
    if wanted is None:
        own = and_(Network.height == height, Network.width == width, Network.state == NetworkState.READY)
    else:
        own = and_(Network.name == name, Network.state != NetworkState.FAILED)
    with database.reading() as session:
        if session.execute(select(Network.id).where(own, ~is_shipped).limit(1)).first():
            return None
    return shipped.load(name)


def choose(session: Session, wanted: str | None, height: int, width: int) -> ChosenNetwork:
    """The network called ``wanted``: `NAME` for its newest ready version, or `NAME@VERSION`.

    Without a name: the newest ready network that takes images of this size. A user's own go before shipped
    ones.

    Raises:
        NetworkError: there is none; says what there is, and how to train one.
    """
    found = session.execute(_query(wanted, height, width).limit(1)).scalar()
    if found is None:
        raise NetworkError(_missing(session, wanted, height, width))
    return _chosen(found)


def _query(wanted: str | None, height: int, width: int) -> Select[Any]:
    query = select(Network).where(Network.state == NetworkState.READY).order_by(is_shipped, Network.id.desc())
    if wanted is None:
        may_be_default = or_(~is_shipped, Network.name.in_(shipped.DEFAULTS))
        return query.where(Network.height == height, Network.width == width, may_be_default)
    name, version = parse(wanted)
    query = query.where(Network.name == name)
    return query if version is None else query.where(Network.version == version)


def _chosen(row: Network) -> ChosenNetwork:
    return ChosenNetwork(
        id=row.id,
        name=row.name,
        height=row.height,
        width=row.width,
        image_max=row.architecture["input"]["image_max"],
        classes=tuple(row.classes),
    )


def _missing(session: Session, wanted: str | None, height: int, width: int) -> str:
    rows = session.execute(
        select(Network.name, Network.version, Network.state, Network.height, Network.width)
        .order_by(Network.id.desc())
        .limit(10)
    ).all()
    known = ", ".join(f"{r.name}@{r.version} ({r.state}, {r.height} x {r.width})" for r in rows) or "none"
    asked = (
        f"no network is ready for images of {height} x {width} pixels"
        if wanted is None
        else f"no network {wanted!r} is ready"
    )
    name = (wanted or "NAME").partition("@")[0]
    with_us = f" Shipped, by name: {', '.join(shipped.names())}." if shipped.names() else ""
    train = f"Train one: `annealq networks train {name} --data DATA`"
    return f"{asked}; there are: {known}.{with_us} {train}"
