"""Which runs a list shows: conditions on rows, the owners of API keys that submitted runs, and tags."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from datetime import datetime
from typing import Any, TypedDict

from sqlalchemy import ColumnElement, Select, func, insert, select
from sqlalchemy.orm import Session

from schema.network.names import parse
from schema.states import RunState
from schema.tables import Classification, Network, Owner, Run, RunSubmission, RunTag


class RunFilter(TypedDict, total=False):
    """What is wanted of the runs of a list; what is absent or None does not matter.

    Attributes:
        before: only runs with a lower number.
        state: only runs in it.
        owned_by: only runs that these owners of API keys submitted.
        owner: only runs that the owner of this name submitted.
        name: only runs whose name contains it.
        network: only runs by `NAME` or `NAME@VERSION`.
        solver: only runs on it.
        tag: only runs that have it.
        since: only runs enqueued from then on.
        until: only runs enqueued before then.
    """

    before: int | None
    state: RunState | None
    owned_by: Collection[int] | None
    owner: str | None
    name: str | None
    network: str | None
    solver: str | None
    tag: str | None
    since: datetime | None
    until: datetime | None


def conditions(wanted: RunFilter) -> Iterator[ColumnElement[bool]]:
    """Yield the conditions on runs, and on their networks, that ``wanted`` makes."""
    made: dict[str, Any] = {
        "before": lambda run: Run.id < run,
        "state": lambda state: Run.state == state,
        "owned_by": sent_by,
        "owner": lambda owner: Run.id.in_(_sent_by_name(owner)),
        "name": lambda name: Run.name.icontains(name, autoescape=True),
        "network": _by_network,
        "solver": lambda solver: Run.solver == solver,
        "tag": lambda tag: Run.id.in_(select(RunTag.run_id).where(RunTag.tag == tag)),
        "since": lambda since: Run.created_at >= since,
        "until": lambda until: Run.created_at < until,
    }
    return (made[name](value) for name, value in wanted.items() if value is not None)


def _by_network(network: str) -> ColumnElement[bool]:
    name, version = parse(network)
    return Network.name == name if version is None else (Network.name == name) & (Network.version == version)


def _sent_by_name(owner: str) -> Select[int]:
    return (
        select(RunSubmission.run_id)
        .join(Owner, Owner.id == RunSubmission.owner_id)
        .where(Owner.name == owner)
    )


class ResultFilter(TypedDict, total=False):
    """What is wanted of the images of a run; what is absent or None does not matter.

    Attributes:
        wrong: only labelled images that are classified wrongly, or that are not.
        status: decided, tied or undecided.
        label, predicted: only images of this class; that are predicted to be of it.
        probability_below, margin_below: only images whose class is less certain.
        set_size_above: only images with a larger set of classes.
    """

    wrong: bool | None
    status: str | None
    label: int | None
    predicted: int | None
    probability_below: float | None
    margin_below: float | None
    set_size_above: int | None


def image_conditions(wanted: ResultFilter) -> list[ColumnElement[bool]]:
    """Return the conditions on classifications that ``wanted`` makes."""
    c = Classification
    made: dict[str, Any] = {
        # Undecided images have no class, and are wrong, too.
        "wrong": lambda wrong: func.coalesce(c.predicted, -1) != c.label if wrong else c.predicted == c.label,
        "status": lambda status: c.status == status,
        "label": lambda label: c.label == label,
        "predicted": lambda predicted: c.predicted == predicted,
        "probability_below": lambda limit: c.probability < limit,
        "margin_below": lambda limit: c.margin < limit,
        "set_size_above": lambda size: c.set_size > size,
    }
    return [made[name](value) for name, value in wanted.items() if value is not None]


def sent_by(owners: Collection[int]) -> ColumnElement[bool]:
    """Return the condition that one of ``owners`` submitted a run."""
    return Run.id.in_(select(RunSubmission.run_id).where(RunSubmission.owner_id.in_(owners)))


def has_sent(session: Session, owners: Collection[int], run: int) -> bool:
    """Return whether ``run`` exists and one of ``owners`` submitted it, as read by ``session``."""
    query = select(RunSubmission.run_id).where(RunSubmission.run_id == run)
    return session.execute(query.where(RunSubmission.owner_id.in_(owners))).first() is not None


def put_tags(session: Session, run: int, tags: Iterable[str]) -> None:
    """Write ``tags`` of ``run``, which has none, by ``session``."""
    if rows := [{"run_id": run, "tag": tag} for tag in sorted(set(tags))]:
        session.execute(insert(RunTag), rows)
