"""Stored chips: a solver's working qubits and couplers, as arrays."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func, select
from sqlalchemy.orm import Session, defer

from schema.calendar.run_hours import format_time
from schema.codecs import chip_graphs
from schema.codecs.corruption import stored_in
from schema.errors import Corrupt, NotFound
from schema.states import ProblemState
from schema.tables import Chip, Problem

IndexArray = NDArray[np.int32]

_ANNOUNCED = ("context", "message", "sunset", "link")


@dataclass(frozen=True, eq=False)
class ChipGraph:
    """A solver's working graph.

    Attributes:
        topology, shape: as the solver states them.
        qubits: (Q,) int32.
        couplers: (M, 2) int32.
    """

    name: str
    graph_id: str
    topology: str
    shape: tuple[int, ...]
    qubits: IndexArray
    couplers: IndexArray


def read(session: Session, chip: int) -> ChipGraph:
    """Return the graph of the existing ``chip`` in ``session``.

    Raises:
        Corrupt: its bytes do not match its row.
    """
    row = session.execute(select(Chip).where(Chip.id == chip)).scalar_one()
    with stored_in(f"graph of chip {chip}", "ask the solver again: `annealq embeddings find`"):
        qubits, couplers = chip_graphs.decode(row.graph, row.qubits, row.couplers)
        topology, shape = _topology(row.properties)
    return ChipGraph(row.name, row.graph_id, topology, shape, qubits, couplers)


def solver_data(session: Session, chip: int) -> dict[str, Any]:
    """Return the existing ``chip`` in ``session`` as D-Wave's solver API describes a solver.

    Raises:
        Corrupt: its bytes do not match its row.
    """
    graph = read(session, chip)
    properties = session.execute(select(Chip.properties).where(Chip.id == chip)).scalar_one()
    lists = {"qubits": graph.qubits.tolist(), "couplers": graph.couplers.tolist()}
    identity = {"name": graph.name, "version": {"graph_id": graph.graph_id}}
    about = {"identity": identity, "status": "ONLINE", "description": "stored by annealq", "avg_load": 0.0}
    return {**about, "properties": {**properties, **lists}}


@dataclass(frozen=True)
class ChipDeprecation:
    """What the service announced about a solver when it was used last.

    Attributes:
        solver: emulator or dwave.
        name: of the solver.
        context: api, feature, parameter or solver.
        sunset: date after which it is withdrawn, YYYY-MM-DD.
        link: to more about it.
    """

    solver: str
    name: str
    graph_id: str
    context: str
    message: str
    sunset: str
    link: str | None

    @property
    def text(self) -> str:
        """Return it for display."""
        more = "" if self.link is None else f"; see {self.link}"
        return f"{self.message.rstrip('.')}: withdrawn after {self.sunset}{more}"


@dataclass(frozen=True)
class ChipSummary:
    """A working graph of a solver as `embeddings chips` prints it.

    Attributes:
        solver: emulator or dwave.
        name: of the solver, as it names itself.
        current: the solver had this graph when it was last contacted.
        topology, shape: as the solver states them.
        qubits, couplers: number of working ones.
        measured: number of good problems that were measured.
        alarm: what about its newest problems differs from its past; None if nothing does.
    """

    chip_id: int
    solver: str
    name: str
    graph_id: str
    current: bool
    topology: str
    shape: tuple[int, ...]
    qubits: int
    couplers: int
    measured: int
    seen_at: datetime
    alarm: str | None
    alarmed_at: datetime | None


def summaries(session: Session) -> list[ChipSummary]:
    """Return the chips in ``session``, those used last first; raise Corrupt if one states no topology."""
    counts = select(Problem.graph_id, func.count()).where(
        Problem.measured.is_not(None), Problem.state == ProblemState.ANSWERED
    )
    measured = {row[0]: row[1] for row in session.execute(counts.group_by(Problem.graph_id))}
    chips = session.execute(
        select(Chip).options(defer(Chip.graph)).order_by(Chip.seen_at.desc(), Chip.id.desc())
    ).scalars()
    found: list[ChipSummary] = []
    for chip in chips:
        current = not any((chip.solver, chip.name) == (other.solver, other.name) for other in found)
        graph = (*_topology(chip.properties), chip.qubits, chip.couplers)
        uses = (measured.get(chip.graph_id, 0), chip.seen_at, chip.alarm, chip.alarmed_at)
        found.append(ChipSummary(chip.id, chip.solver, chip.name, chip.graph_id, current, *graph, *uses))
    return found


def find(session: Session, name: str) -> ChipSummary:
    """Return the chip in ``session`` with this ``name`` or graph id that was used last.

    Raises:
        NotFound: there is none.
    """
    for chip in summaries(session):
        if name in (chip.name, chip.graph_id):
            return chip
    raise NotFound(f"chip {name} does not exist: see `annealq embeddings chips`")


def alarms(session: Session) -> dict[tuple[str, str], str]:
    """Return the alarm of each chip in ``session`` that has one, and since when, by name and graph id."""
    rows = session.execute(
        select(Chip.name, Chip.graph_id, Chip.alarm, Chip.alarmed_at).where(Chip.alarmed_at.is_not(None))
    )
    return {(name, graph_id): f"{alarm}; since {format_time(at)}" for name, graph_id, alarm, at in rows if at}


def deprecations(session: Session) -> list[ChipDeprecation]:
    """Return what is deprecated about the chips in ``session``, the earliest sunset first."""
    rows = session.execute(select(Chip.solver, Chip.name, Chip.graph_id, Chip.properties, Chip.seen_at))
    found = [
        ChipDeprecation(solver, name, graph_id, **{field: entry[field] for field in _ANNOUNCED})
        for solver, name, graph_id, properties, seen_at in rows
        for entry in properties.get("deprecations", ())
        if date.fromisoformat(entry["seen_on"]) >= seen_at.date() - timedelta(days=1)
    ]
    return sorted(found, key=lambda one: (one.sunset, one.name, one.message))


def _topology(properties: dict[str, Any]) -> tuple[str, tuple[int, ...]]:
    try:
        stated = properties["topology"]
        return str(stated["type"]), tuple(int(side) for side in stated["shape"])
    except (KeyError, TypeError, ValueError) as error:
        raise Corrupt(f"a chip's properties do not state its topology: {error!r}") from None
