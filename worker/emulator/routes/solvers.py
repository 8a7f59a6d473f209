"""SAPI's solvers: definitions, whole or filtered."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from worker.emulator.qpu.errors import Rejected
from worker.emulator.qpu.solver import GATE_SOLVER, gate_definition
from worker.emulator.routes import wire
from worker.emulator.service.faults import Target

if TYPE_CHECKING:
    from worker.emulator.qpu.solver import EmulatedSolver
    from worker.emulator.service.machine import Machine

# Seconds for which status and load may be cached at most; the rest of a definition changes seldom.
_MOVING_AGE_S = 30


@dataclass(frozen=True)
class Filter:
    """SAPI's filter of a definition.

    Attributes:
        everything: whether it begins with all fields, or with none.
        changes: in their order, a sign (+ or -) and the path of a field.
    """

    everything: bool
    changes: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @classmethod
    def parse(cls, text: str) -> Filter:
        """Return the filter ``text``: ``all`` or ``none``, then ``+field`` and ``-field``; a field may be
        dotted.

        Raises:
            Rejected: the filter has another form.
        """
        first, *changes = text.split(",")
        if first not in {"all", "none"}:
            raise Rejected(f"a filter begins with all or none, not {first!r:.80}")
        parsed = []
        for change in changes:
            # A plus that the client did not quote arrives as a space.
            sign, path = change[:1].replace(" ", "+"), tuple(change[1:].split("."))
            if sign not in {"+", "-"} or not all(path):
                raise Rejected(f"a filter has + or - and a field, such as +status, not {change!r:.80}")
            parsed.append((sign, path))
        return cls(first == "all", tuple(parsed))

    def apply(self, content: Mapping[str, Any]) -> dict[str, Any]:
        """Return the selected fields of ``content``; those that it does not have are left out."""
        selected = dict(content) if self.everything else {}
        for sign, path in self.changes:
            present, value = _look_up(content if sign == "+" else selected, path)
            if not present:
                continue
            *parents, name = path
            place = selected
            for parent in parents:
                # A copy: what is removed from it stays in the definition.
                place[parent] = dict(place.get(parent, {}))
                place = place[parent]
            if sign == "+":
                place[name] = value
            else:
                del place[name]
        return selected

    def selects(self, name: str) -> bool:
        """Return whether the field ``name`` is among the selected ones, if a definition has it."""
        return name in self.apply({name: 0})


class SolverRoutes:
    """Handlers of ``solvers/remote/``: each takes request, member and body."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    async def all(self, request: Request, _member: str, _content: bytes) -> Response:
        """Return all solvers, with the fields that ``request`` asks for."""
        wanted = _wanted(request)
        definitions = [self._definition(solver, wanted) for solver in self._machine.solvers.values()]
        if category := self._machine.gate_solver:
            definitions.append(orjson.dumps(wanted.apply(gate_definition(category))))
        content = b"[" + b",".join(definitions) + b"]"
        return self._cacheable(request, wanted, content, "solver-definition-list")

    async def one(self, request: Request, _member: str, _content: bytes) -> Response:
        """Return the solver that ``request`` names."""
        name, wanted, category = request.path_params["name"], _wanted(request), self._machine.gate_solver
        if name == GATE_SOLVER and category is not None:
            definition = orjson.dumps(wanted.apply(gate_definition(category)))
        elif name in self._machine.solvers:
            definition = self._definition(self._machine.solvers[name], wanted)
        else:
            raise Rejected(f"unknown solver {name!r:.80}; available: {', '.join(self._machine.solvers)}", 404)
        return self._cacheable(request, wanted, definition, "solver-definition")

    def _definition(self, solver: EmulatedSolver, wanted: Filter) -> bytes:
        moving = {
            "status": "ONLINE" if self._machine.online(solver.name) else "OFFLINE",
            "avg_load": self._machine.load(solver),
        }
        fixed = _fixed(solver, wanted, self._machine.quota_conversion_rate)
        return _joined(fixed, orjson.dumps(wanted.apply(moving)))

    def _cacheable(self, request: Request, wanted: Filter, content: bytes, kind: str) -> Response:
        """Return the content, or 304 when the client has it already."""
        changes = request.state.view.changes.encode()
        etag = f'W/"{hashlib.sha256(content + changes).hexdigest()[:32]}"'
        age = self._machine.options.max_age_s
        if wanted.selects("status") or wanted.selects("avg_load"):
            age = min(age, _MOVING_AGE_S)
        headers = {"ETag": etag, "Cache-Control": f"private, max-age={age}"}
        if etag in [tag.strip() for tag in request.headers.get("if-none-match", "").split(",")]:
            return Response(status_code=304, headers=headers)
        return Response(content, media_type=wire.media(kind), headers=headers)


def target(_request: Request) -> Target:
    """Return the kind of request for faults: always a solver's definition."""
    return Target.SOLVERS


def _look_up(content: object, path: Sequence[str]) -> tuple[bool, Any]:
    """Return whether nested objects have the field ``path``, and its value."""
    for name in path:
        if not isinstance(content, Mapping) or name not in content:
            return False, None
        content = content[name]
    return True, content


def _wanted(request: Request) -> Filter:
    return Filter.parse(request.query_params.get("filter", "all"))


# Solvers are compared by identity: a changed graph is another solver.
@lru_cache(maxsize=64)
def _fixed(solver: EmulatedSolver, wanted: Filter, quota_conversion_rate: float) -> bytes:
    """Return as JSON the part of a definition that changes only with the graph and this rate."""
    content = {
        "identity": solver.identity,
        "description": solver.description,
        "properties": {**solver.properties, "quota_conversion_rate": quota_conversion_rate},
    }
    return orjson.dumps(wanted.apply(content))


def _joined(first: bytes, second: bytes) -> bytes:
    """Join two JSON objects."""
    if first == b"{}" or second == b"{}":
        return second if first == b"{}" else first
    return first[:-1] + b"," + second[1:]
