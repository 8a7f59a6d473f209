"""Chooses the default network for a size of images, and renames and removes networks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from producer.networks import queries
from producer.networks.queries import NetworkSummary
from schema.database import Database, record_action, record_event
from schema.errors import NetworkError
from schema.network.names import check_name, parse
from schema.parameters.choices import Origin
from schema.quantities import count_text
from schema.states import NetworkState
from schema.tables import Calibration, Network, Run, Schedule


def set_default(database: Database, name: str) -> NetworkSummary:
    """Make the network ``name`` of ``database`` the default for images of its size; return it.

    Raises:
        NotFound: there is none.
        NetworkError: it has no weights.
    """
    with database.transaction() as session:
        network = queries.network_by_name(session, name)
        if network.state is not NetworkState.READY:
            raise NetworkError(
                f"network {network.pinned} is {network.state}: only a ready one can be a default"
            )
        _unset(session, network)
        session.execute(update(Network).where(Network.id == network.network_id).values(is_default=True))
        _note(database, session, network, f"the default for {network.image_shape.words}")
    return replace(network, is_default=True)


def unset_default(database: Database, name: str) -> NetworkSummary:
    """Let images of the size of ``name`` have no default that a user chose; return the network.

    Raises:
        NotFound: there is none.
        NetworkError: it is not the default.
    """
    with database.transaction() as session:
        network = queries.network_by_name(session, name)
        if not network.is_default:
            raise NetworkError(
                f"network {network.pinned} was not chosen as a default: `annealq networks list` marks those"
            )
        _unset(session, network)
        _note(database, session, network, "no default any more")
    return replace(network, is_default=False)


def rename(database: Database, name: str, new: str) -> list[tuple[str, str]]:
    """Give all versions of ``name``, or the one after ``@``, the name ``new``; return old and new names.

    One version becomes the next of ``new``. Schedules of ``database`` that use them follow.

    Raises:
        NotFound: there is none.
        NetworkError: the new name cannot be used, or the network came with annealq.
    """
    check_name(new)
    base, version = parse(name)
    with database.transaction() as session:
        queries.network_by_name(session, name)
        newest = session.execute(select(func.max(Network.version)).where(Network.name == new)).scalar()
        if new == base or (version is None and newest is not None):
            raise NetworkError(
                f"there is a network {new!r}: choose another name, or rename one version, {base}@VERSION"
            )
        query = select(Network.id, Network.version, Network.state, Network.training)
        query = query.where(Network.name == base).order_by(Network.version)
        if version is not None:
            query = query.where(Network.version == version)
        moved = {}
        for row in session.execute(query).all():
            _refuse_shipped(f"{base}@{row.version}", row.training, "renamed")
            number = row.version if version is None else (newest or 0) + 1
            session.execute(update(Network).where(Network.id == row.id).values(name=new, version=number))
            moved[f"{base}@{row.version}"] = f"{new}@{number}"
            why = f"renamed from {base}@{row.version} to {new}@{number}"
            now = database.now(session)
            record_event(session, "networks", row.id, row.state, row.state, now=now, why=why)
        for schedule, request in session.execute(select(Schedule.id, Schedule.request)).all():
            if request.get("network") in moved:
                values = {"request": {**request, "network": moved[request["network"]]}}
                session.execute(update(Schedule).where(Schedule.id == schedule).values(values))
    return list(moved.items())


def remove(database: Database, name: str) -> NetworkSummary:
    """Remove one version of a network and its calibrations from ``database``; return what it was.

    Raises:
        NotFound: there is none.
        NetworkError: it is being trained, came with annealq, or runs or schedules use it.
    """
    with database.transaction() as session:
        network = queries.network_by_name(session, name)
        _refuse_shipped(network.pinned, network.training, "removed")
        if network.state in (NetworkState.QUEUED, NetworkState.TRAINING):
            raise NetworkError(f"network {network.pinned} is {network.state}: remove it when it is trained")
        last_run, runs = session.execute(
            select(func.max(Run.id), func.count()).where(Run.network_id == network.network_id)
        ).one()
        if runs:
            number = "a run" if runs == 1 else count_text(runs, "run")
            raise NetworkError(
                f"network {network.pinned} is that of {number}, the newest is {last_run}: "
                "`annealq runs delete RUN` first"
            )
        for schedule, request in session.execute(select(Schedule.name, Schedule.request)).all():
            if request.get("network") == network.pinned:
                raise NetworkError(
                    f"network {network.pinned} is that of a schedule: "
                    f"`annealq schedules remove {schedule}` first"
                )
        session.execute(delete(Calibration).where(Calibration.network_id == network.network_id))
        session.execute(delete(Network).where(Network.id == network.network_id))
        now = database.now(session)
        record_action(session, "networks", network.network_id, "removed", now=now, why=network.pinned)
        _note(database, session, network, "removed")
    return network


def _unset(session: Session, network: NetworkSummary) -> None:
    same = (Network.shape == network.shape, Network.dtype == network.dtype)
    session.execute(update(Network).where(*same).values(is_default=False))


def _refuse_shipped(name: str, training: dict[str, Any], what: str) -> None:
    if training.get("origin") == Origin.SHIPPED.value:
        raise NetworkError(
            f"network {name} came with annealq, and cannot be {what}: choose another default instead, "
            "`annealq networks default NAME`"
        )


def _note(database: Database, session: Session, network: NetworkSummary, why: str) -> None:
    state, now = network.state, database.now(session)
    record_event(session, "networks", network.network_id, state, state, now=now, why=why)
