"""Finds the network that a user means."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from schema.architecture import Architecture
from schema.errors import NetworkError
from schema.states import NetworkState
from schema.tables import Network


@dataclass(frozen=True)
class ChosenNetwork:
    """What a producer needs to know of a network."""

    id: int
    name: str
    height: int
    width: int
    image_max: int
    classes: tuple[str, ...]

    @classmethod
    def untrained(cls, architecture: Architecture, classes: list[str]) -> ChosenNetwork:
        """The same for an architecture that has no row yet."""
        image = architecture.input
        return cls(0, architecture.name, image.height, image.width, image.image_max, tuple(classes))


def choose(session: Session, wanted: str | None, height: int, width: int) -> ChosenNetwork:
    """The network called ``wanted``: `NAME` for its newest ready version, or `NAME@VERSION`.

    Without a name: the newest ready network that takes images of this size.

    Raises:
        NetworkError: there is none; says what there is, and how to train one.
    """
    query = select(Network).where(Network.state == NetworkState.READY).order_by(Network.id.desc())
    if wanted is None:
        query = query.where(Network.height == height, Network.width == width)
    else:
        name, version = _parse(wanted)
        query = query.where(Network.name == name)
        if version is not None:
            query = query.where(Network.version == version)
    found = session.execute(query.limit(1)).scalar()
    if found is None:
        raise NetworkError(_missing(session, wanted, height, width))
    return ChosenNetwork(
        id=found.id,
        name=found.name,
        height=found.height,
        width=found.width,
        image_max=found.architecture["input"]["image_max"],
        classes=tuple(found.classes),
    )


def _parse(wanted: str) -> tuple[str, int | None]:
    name, _, version = wanted.partition("@")
    if version and not version.isdecimal():
        raise NetworkError(f"network {wanted!r}: after @ comes a version, a whole number")
    return name, int(version) if version else None


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
    return f"{asked}; there are: {known}. Train one: `annealq networks train {name} --data DATA`"
