"""Finds the network that a user means: one of their own, or a shipped one, installed on its first use."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, and_, or_, select
from sqlalchemy.orm import Session

from producer.images.imageset import ImageSet
from producer.networks import queries, shipped
from producer.networks.bundle import Bundle
from producer.networks.chosen import ChosenNetwork
from producer.networks.compatibility import match_images
from producer.networks.queries import NetworkSummary, is_shipped, parse
from producer.networks.versions import install
from schema.database import Database
from schema.errors import NetworkError
from schema.parameters import Origin
from schema.states import NetworkState
from schema.tables import Network


def get_or_install_network(database: Database, images: ImageSet, name: str | None) -> ChosenNetwork:
    """Return the network ``name`` to classify ``images`` with, or their size's; install a shipped one.

    Raises:
        NetworkError: there is none.
        ImageError: the images do not suit a shipped network; nothing was written.
    """
    height, width = images.images.shape[1:]
    bundle = _find_shipped(database, name, height, width)
    if bundle is None:
        with database.reading() as session:
            return choose_network(session, name, height, width)
    match_images(images, ChosenNetwork.described(bundle.description))
    return ChosenNetwork.described(bundle.description, install(database, bundle, Origin.SHIPPED).id)


def find_network(database: Database, name: str) -> NetworkSummary:
    """Return the network ``name`` of ``database``; install a shipped one if it has no other.

    Raises:
        NotFound: there is none.
        NetworkError: the text after ``@`` is not a version.
    """
    bundle = _find_shipped(database, name, 0, 0)
    if bundle is not None:
        install(database, bundle, Origin.SHIPPED)
    with database.reading() as session:
        return queries.network_by_name(session, name)


def choose_network(session: Session, name: str | None, height: int, width: int) -> ChosenNetwork:
    """Return the network ``name``: `NAME` for its newest ready version, or `NAME@VERSION`.

    Without a name, return the newest ready network for images of ``height`` x ``width`` pixels. A user's own
    networks take precedence over shipped ones.

    Raises:
        NetworkError: there is none; lists the networks, and says how to train one.
    """
    row = session.execute(_query(name, height, width).limit(1)).scalar()
    if row is None:
        raise NetworkError(_missing(session, name, height, width))
    return ChosenNetwork(
        id=row.id,
        name=row.name,
        height=row.height,
        width=row.width,
        image_max=row.architecture["input"]["image_max"],
        classes=tuple(row.classes),
    )


def _find_shipped(database: Database, wanted: str | None, height: int, width: int) -> Bundle | None:
    """Return the shipped network ``wanted``, or the default for the size; None: the user has an own one."""
    name = shipped.default_for(height, width) if wanted is None else wanted
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


def _query(wanted: str | None, height: int, width: int) -> Select[Any]:
    query = select(Network).where(Network.state == NetworkState.READY).order_by(is_shipped, Network.id.desc())
    if wanted is None:
        may_be_default = or_(~is_shipped, Network.name.in_(shipped.DEFAULTS))
        return query.where(Network.height == height, Network.width == width, may_be_default)
    name, version = parse(wanted)
    query = query.where(Network.name == name)
    return query if version is None else query.where(Network.version == version)


def _missing(session: Session, wanted: str | None, height: int, width: int) -> str:
    rows = session.execute(
        select(Network.name, Network.version, Network.state, Network.height, Network.width)
        .order_by(Network.id.desc())
        .limit(10)
    ).all()
    existing = ", ".join(f"{r.name}@{r.version} ({r.state}, {r.height} x {r.width})" for r in rows) or "none"
    problem = (
        f"no network is ready for images of {height} x {width} pixels"
        if wanted is None
        else f"no network {wanted!r} is ready"
    )
    name = (wanted or "NAME").partition("@")[0]
    by_name = f" Shipped, by name: {', '.join(shipped.names())}." if shipped.names() else ""
    train = f"Train one: `annealq networks train {name} --data DATA`"
    return f"{problem}; there are: {existing}.{by_name} {train}"
