"""Finds the network that a user means: one of their own, or a shipped one, installed on its first use."""

from __future__ import annotations

from collections.abc import Callable

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
from schema.network.architecture import PRESETS
from schema.network.layers import Input, read_input
from schema.network.names import parse
from schema.parameters.choices import Origin
from schema.shapes import ImageShape
from schema.states import NetworkState
from schema.tables import Backbone, Network, Run

_LISTED = 10  # networks in a message


def get_or_install_network(database: Database, images: ImageSet, name: str | None) -> ChosenNetwork:
    """Return the network ``name`` to classify ``images`` with, or their size's; install a shipped one.

    Raises:
        NetworkError: there is none, or several fit and none is the default.
        ImageError: the images do not suit a shipped network; nothing was written.
    """
    shape = images.shape
    bundle = _find_shipped(database, name, shape)
    if bundle is not None:
        match_images(images, ChosenNetwork.described(bundle.description))
        installed = install(database, bundle, Origin.SHIPPED).id
        reason = _shipped(shape) if name is None else f"shipped as {name}"
        with database.reading() as session:
            return ChosenNetwork.of_row(session.get_one(Network, installed), reason)
    with database.reading() as session:
        return choose_network(session, name, shape)


def find_network(database: Database, name: str) -> NetworkSummary:
    """Return the network ``name`` of ``database``; install a shipped one if it has no other.

    Raises:
        NotFound: there is none.
        NetworkError: the text after ``@`` is not a version.
    """
    bundle = _find_shipped(database, name, None)
    if bundle is not None:
        install(database, bundle, Origin.SHIPPED)
    with database.reading() as session:
        return queries.network_by_name(session, name)


def choose_network(session: Session, name: str | None, shape: ImageShape) -> ChosenNetwork:
    """Return the network ``name``, which is `NAME@VERSION`, or `NAME` for its newest ready version.

    A name stands for a user's own network, if there is one, else for a shipped one, and last for one of an
    experiment. Without a name, return the network for images of ``shape``: the default that a user chose,
    else the shipped one of their size, else the only one of this shape.

    Raises:
        NetworkError: there is none, or several fit and none is the default; it lists them.
    """
    row, reason = _by_shape(session, shape) if name is None else _by_name(session, name)
    if row is None:
        raise NetworkError(_missing(session, shape if name is None else name))
    return ChosenNetwork.of_row(row, reason)


def network_of_run(session: Session, run: int) -> ChosenNetwork:
    """Return the network of ``run``, which exists."""
    query = select(Network).join(Run, Run.network_id == Network.id).where(Run.id == run)
    return ChosenNetwork.of_row(session.execute(query).scalar_one(), "that of its run")


def _find_shipped(database: Database, wanted: str | None, shape: ImageShape | None) -> Bundle | None:
    """Return the shipped network ``wanted``, or the one for the ``shape``; None: the user has another one."""
    version: int | None = None
    if wanted is not None:
        name, version = parse(wanted)
    elif shape is None or (named := shipped.default_for(shape)) is None:
        return None
    else:
        name = named
    if name not in shipped.names() or version not in (None, 1):
        return None
    if wanted is None and shape is not None:
        other = _is_default(shape.grey)
        if shape.is_colour:
            other |= _takes(shape)
    elif version is not None:  # the shipped one becomes NAME@1 if no network has the name
        other = Network.name == name
    else:
        other = and_(Network.name == name, Network.state != NetworkState.FAILED, ~is_shipped, ~is_experiment)
    with database.reading() as session:
        if session.execute(select(Network.id).where(other).limit(1)).first():
            return None
    return shipped.load(name)


def _takes(shape: ImageShape) -> ColumnElement[bool]:
    is_ready = Network.state == NetworkState.READY
    return and_(Network.shape == str(shape), Network.dtype == shape.dtype, is_ready)


def _is_default(shape: ImageShape) -> ColumnElement[bool]:
    return and_(_takes(shape), Network.is_default)


def _by_name(session: Session, wanted: str) -> tuple[Network | None, str]:
    name, version = parse(wanted)
    query = select(Network).where(Network.name == name, Network.state == NetworkState.READY)
    if version is not None:
        return session.execute(query.where(Network.version == version)).scalar(), "as asked"
    newest = query.order_by(is_experiment, is_shipped, Network.id.desc()).limit(1)
    return session.execute(newest).scalar(), f"the newest version of {name}"


def _by_shape(session: Session, shape: ImageShape) -> tuple[Network | None, str]:
    if (row := session.execute(select(Network).where(_is_default(shape))).scalar()) is not None:
        return row, f"the default for {shape.words}"
    if shape.is_grey and (name := shipped.default_for(shape)) is not None:
        return _installed(session, name), _shipped(shape)
    own = select(Network).where(_takes(shape), ~is_experiment, ~is_shipped).order_by(Network.id.desc())
    found = session.execute(own.limit(_LISTED)).scalars().all()
    if len(found) > 1:
        names = ", ".join(f"{row.name}@{row.version}" for row in found)
        raise NetworkError(
            f"several networks take {shape.words}, and none is the default: {names}. Name one with "
            f"--network, or choose it once: `annealq networks default {found[0].name}@{found[0].version}`"
        )
    if not found and shape.is_colour:
        row, reason = _for_grey(session, shape.grey)
        found = [] if row is None else [row]
        if found:
            return row, reason
    if not found and not shape.is_vector:
        return _resizing(session), f"the one that resizes pictures; none takes {shape.words}"
    return (found[0] if found else None), f"the only one for {shape.words}"


def inputs(database: Database | None, name: str | None) -> Callable[[bool], Input | None]:
    """Return what tells the reader of pictures which input they are for, before they are read.

    It is that of the network ``name`` in ``database``. Without a name it is known only if pictures differ in
    size: that of the network which resizes them.

    Args:
        database: None: there is none yet, and nothing is known.
        name: of the network that was asked for, if any.

    The function that is returned raises NetworkError if there is no network ``name``, or if several resize
    pictures.
    """

    def find(pictures_differ: bool) -> Input | None:
        if database is None or (name is None and not pictures_differ):
            return None
        with database.reading() as session:
            row = _resizing(session) if name is None else _by_name(session, name)[0]
            if row is None and name is not None and parse(name)[0] not in shipped.names():
                raise NetworkError(_missing(session, name))
            return None if row is None else read_input(row.architecture["input"])

    return find


def _resizing(session: Session) -> Network | None:
    """Return the network that resizes pictures: the default, or the only one; raise NetworkError."""
    resize = Network.architecture["input"]["resize"].as_string()
    query = select(Network).where(Network.state == NetworkState.READY, resize.is_not(None), ~is_experiment)
    found = session.execute(query.order_by(Network.id.desc()).limit(_LISTED)).scalars().all()
    chosen = [row for row in found if row.is_default] or found
    if len(chosen) > 1:
        names = ", ".join(f"{row.name}@{row.version}" for row in chosen)
        raise NetworkError(f"several networks resize pictures: {names}. Name one with --network")
    return chosen[0] if chosen else None


def _for_grey(session: Session, shape: ImageShape) -> tuple[Network | None, str]:
    """Return the network that coloured images become grey for: the default, else the shipped one."""
    if (row := session.execute(select(Network).where(_is_default(shape))).scalar()) is not None:
        return row, f"the default for {shape.words}, and none takes them in colour"
    name = shipped.default_for(shape)
    return None if name is None else _installed(session, name), _shipped(shape)


def _installed(session: Session, name: str) -> Network | None:
    """Return the newest version of the shipped network ``name``."""
    query = select(Network).where(Network.name == name, is_shipped, Network.state == NetworkState.READY)
    return session.execute(query.order_by(Network.id.desc()).limit(1)).scalar()


def _shipped(shape: ImageShape) -> str:
    """Return why a shipped network is chosen for images of ``shape``."""
    return f"shipped for {shape.grey.words}"


def _missing(session: Session, wanted: str | ImageShape) -> str:
    """Return that there is no network ``wanted``, a name or the shape of its images, and what to do."""
    rows = session.execute(
        select(Network.name, Network.version, Network.state, Network.shape, Network.dtype)
        .order_by(Network.id.desc())
        .limit(_LISTED)
    ).all()
    takes = [ImageShape.parse(row.shape, row.dtype).short for row in rows]
    existing = ", ".join(f"{r.name}@{r.version} ({r.state}, {t})" for r, t in zip(rows, takes, strict=True))
    if isinstance(wanted, ImageShape):
        problem = f"no network is ready for {wanted.words}"
    else:
        problem = f"no network {wanted!r} is ready"
    by_name = f" Shipped, by name: {', '.join(shipped.names())}." if shipped.names() else ""
    backbone = session.execute(select(Backbone.name).order_by(Backbone.id).limit(1)).scalar()
    if isinstance(wanted, ImageShape) and wanted.is_colour and backbone is not None:
        train = (
            f"Train one on the features of backbone {backbone!r}, with labelled pictures: "
            "`annealq networks train --data DATA`, then `annealq classify DATA`"
        )
    elif isinstance(wanted, str) and wanted.partition("@")[0] in PRESETS:
        train = f"Train one: `annealq networks train {wanted.partition('@')[0]} --data DATA`"
    else:
        are_pixels = isinstance(wanted, ImageShape) and not wanted.is_vector
        train = (
            "Write layers for your images: `annealq networks new --data DATA --out mine.toml`, then train "
            f"them: `annealq networks train --architecture mine.toml --data DATA`"
            f"{'; or resize by --resize 28' if are_pixels else ''}"
        )
    return f"{problem}; there are: {existing or 'none'}.{by_name} {train}"
