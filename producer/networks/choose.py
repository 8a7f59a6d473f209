"""Finds the network that a user means: one of their own, or a shipped one, installed on its first use."""

from __future__ import annotations

from sqlalchemy import ColumnElement, and_, select
from sqlalchemy.orm import Session

from producer.images.imageset import ImageSet
from producer.networks import queries, shipped
from producer.networks.bundle import Bundle
from producer.networks.chosen import ChosenNetwork
from producer.networks.compatibility import match_images
from producer.networks.queries import NetworkSummary, is_experiment, is_shipped
from producer.networks.versions import install
from schema.database import Database
from schema.errors import NetworkError
from schema.network.names import parse
from schema.parameters.choices import Origin
from schema.states import NetworkState
from schema.tables import Network

_LISTED = 10  # networks in a message


def get_or_install_network(database: Database, images: ImageSet, name: str | None) -> ChosenNetwork:
    """Return the network ``name`` to classify ``images`` with, or their size's; install a shipped one.

    Raises:
        NetworkError: there is none, or several fit and none is the default.
        ImageError: the images do not suit a shipped network; nothing was written.
    """
    height, width = images.images.shape[1:]
    bundle = _find_shipped(database, name, height, width)
    if bundle is not None:
        match_images(images, ChosenNetwork.described(bundle.description))
        installed = install(database, bundle, Origin.SHIPPED).id
        reason = _shipped(height, width) if name is None else f"shipped as {name}"
        with database.reading() as session:
            return _chosen(session.get_one(Network, installed), reason)
    with database.reading() as session:
        return choose_network(session, name, height, width)


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
    """Return the network ``name``, which is `NAME@VERSION`, or `NAME` for its newest ready version.

    A name stands for a user's own network, if there is one, else for a shipped one, and last for one of an
    experiment. Without a name, return the network for images of ``height`` x ``width`` pixels: the default
    that a user chose, else the shipped one, else the only one of this size.

    Raises:
        NetworkError: there is none, or several fit and none is the default; it lists them.
    """
    row, reason = _by_size(session, height, width) if name is None else _by_name(session, name)
    if row is None:
        raise NetworkError(_missing(session, name, height, width))
    return _chosen(row, reason)


def _chosen(row: Network, reason: str) -> ChosenNetwork:
    return ChosenNetwork(
        id=row.id,
        name=row.name,
        height=row.height,
        width=row.width,
        image_max=row.architecture["input"]["image_max"],
        classes=tuple(row.classes),
        version=row.version,
        reason=reason,
    )


def _find_shipped(database: Database, wanted: str | None, height: int, width: int) -> Bundle | None:
    """Return the shipped network ``wanted``, or the one for the size; None: the user has another one."""
    name, version = (shipped.default_for(height, width), None) if wanted is None else parse(wanted)
    if name is None or name not in shipped.names() or version not in (None, 1):
        return None
    if wanted is None:
        other = _is_default(height, width)
    elif version is not None:  # the shipped one becomes NAME@1 if no network has the name
        other = Network.name == name
    else:
        other = and_(Network.name == name, Network.state != NetworkState.FAILED, ~is_shipped, ~is_experiment)
    with database.reading() as session:
        if session.execute(select(Network.id).where(other).limit(1)).first():
            return None
    return shipped.load(name)


def _is_default(height: int, width: int) -> ColumnElement[bool]:
    is_ready = Network.state == NetworkState.READY
    return and_(Network.height == height, Network.width == width, is_ready, Network.is_default)


def _by_name(session: Session, wanted: str) -> tuple[Network | None, str]:
    name, version = parse(wanted)
    query = select(Network).where(Network.name == name, Network.state == NetworkState.READY)
    if version is not None:
        return session.execute(query.where(Network.version == version)).scalar(), "as asked"
    newest = query.order_by(is_experiment, is_shipped, Network.id.desc()).limit(1)
    return session.execute(newest).scalar(), f"the newest version of {name}"


def _by_size(session: Session, height: int, width: int) -> tuple[Network | None, str]:
    size = f"images of {height} x {width} pixels"
    if (row := session.execute(select(Network).where(_is_default(height, width))).scalar()) is not None:
        return row, f"the default for {size}"
    fitting = select(Network).where(
        Network.height == height, Network.width == width, Network.state == NetworkState.READY
    )
    own_first = fitting.order_by(Network.id.desc())
    if (name := shipped.default_for(height, width)) is not None:
        row = session.execute(own_first.where(Network.name == name, is_shipped).limit(1)).scalar()
        return row, _shipped(height, width)
    own = own_first.where(~is_experiment, ~is_shipped)
    found = session.execute(own.limit(_LISTED)).scalars().all()
    if len(found) > 1:
        names = ", ".join(f"{row.name}@{row.version}" for row in found)
        raise NetworkError(
            f"several networks take {size}, and none is the default: {names}. Name one with --network, or "
            f"choose it once: `annealq networks default {found[0].name}@{found[0].version}`"
        )
    return (found[0] if found else None), f"the only one for {size}"


def _shipped(height: int, width: int) -> str:
    return f"shipped for images of {height} x {width} pixels"


def _missing(session: Session, wanted: str | None, height: int, width: int) -> str:
    rows = session.execute(
        select(Network.name, Network.version, Network.state, Network.height, Network.width)
        .order_by(Network.id.desc())
        .limit(_LISTED)
    ).all()
    existing = ", ".join(f"{r.name}@{r.version} ({r.state}, {r.height} x {r.width})" for r in rows) or "none"
    problem = (
        f"no network is ready for images of {height} x {width} pixels"
        if wanted is None
        else f"no network {wanted!r} is ready"
    )
    by_name = f" Shipped, by name: {', '.join(shipped.names())}." if shipped.names() else ""
    if wanted is None:
        train = (
            "Write layers for these images: `annealq networks new --data DATA --out mine.toml`, then train "
            "them: `annealq networks train --architecture mine.toml --data DATA`; or resize by --resize 28"
        )
    else:
        train = f"Train one: `annealq networks train {wanted.partition('@')[0]} --data DATA`"
    return f"{problem}; there are: {existing}.{by_name} {train}"
