"""SAPI's solvers: definitions, whole or filtered."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from worker.emulator.qpu.errors import Rejected
from worker.emulator.routes import wire
from worker.emulator.service.faults import Target

if TYPE_CHECKING:
    from worker.emulator.qpu.solver import EmulatedSolver
    from worker.emulator.service.machine import Machine

_FIELDS = ("identity", "status", "description", "properties", "avg_load")


class SolverRoutes:
    """Handlers of ``solvers/remote/``: each takes request, member and body."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    async def all(self, request: Request, _member: str, _content: bytes) -> Response:
        """Return all solvers, with the fields that ``request`` asks for."""
        wanted = _wanted(request)
        definitions = b",".join(self._definition(solver, wanted) for solver in self._machine.solvers.values())
        return self._cacheable(request, b"[" + definitions + b"]", "solver-definition-list")

    async def one(self, request: Request, _member: str, _content: bytes) -> Response:
        """Return the solver that ``request`` names."""
        name = request.path_params["name"]
        if name not in self._machine.solvers:
            raise Rejected(f"unknown solver {name!r:.80}; available: {', '.join(self._machine.solvers)}", 404)
        definition = self._definition(self._machine.solvers[name], _wanted(request))
        return self._cacheable(request, definition, "solver-definition")

    def _definition(self, solver: EmulatedSolver, wanted: frozenset[str]) -> bytes:
        state = {
            "status": "ONLINE" if self._machine.online(solver.name) else "OFFLINE",
            "avg_load": self._machine.load(solver),
        }
        moving = orjson.dumps({name: value for name, value in state.items() if name in wanted})
        return _joined(_fixed(solver, wanted & {"identity", "description", "properties"}), moving)

    def _cacheable(self, request: Request, content: bytes, kind: str) -> Response:
        """Return the content, or 304 when the client has it already."""
        etag = f'W/"{hashlib.sha256(content).hexdigest()[:32]}"'
        age = self._machine.options.max_age_s
        headers = {"ETag": etag, "Cache-Control": f"private, max-age={age}" if age else "private, no-cache"}
        if etag in [tag.strip() for tag in request.headers.get("if-none-match", "").split(",")]:
            return Response(status_code=304, headers=headers)
        return Response(content, media_type=wire.media(kind), headers=headers)


def target(_request: Request) -> Target:
    """Return the kind of request for faults: always a solver's definition."""
    return Target.SOLVERS


def wanted_fields(text: str) -> frozenset[str]:
    """Return the fields that SAPI's filter ``text`` selects: ``all`` or ``none``, then ``+field`` and
    ``-field``.

    Raises:
        Rejected: the filter has another form.
    """
    first, *changes = text.split(",")
    if first not in {"all", "none"}:
        raise Rejected(f"a filter begins with all or none, not {first!r:.80}")
    fields = set(_FIELDS) if first == "all" else set()
    for change in changes:
        # A plus that the client did not quote arrives as a space.
        sign, name = change[:1], change[1:]
        if sign not in {"+", " ", "-"} or name not in _FIELDS:
            raise Rejected(f"a filter has + or - and one of {', '.join(_FIELDS)}, not {change!r:.80}")
        if sign == "-":
            fields.discard(name)
        else:
            fields.add(name)
    return frozenset(fields)


def _wanted(request: Request) -> frozenset[str]:
    return wanted_fields(request.query_params.get("filter", "all"))


# Solvers are compared by identity: a changed graph is another solver.
@lru_cache(maxsize=64)
def _fixed(solver: EmulatedSolver, wanted: frozenset[str]) -> bytes:
    """Return as JSON the part of a definition that changes only with the graph."""
    content: dict[str, Any] = {}
    if "identity" in wanted:
        content["identity"] = solver.identity
    if "description" in wanted:
        content["description"] = solver.description
    if "properties" in wanted:
        content["properties"] = solver.properties
    return orjson.dumps(content)


def _joined(first: bytes, second: bytes) -> bytes:
    """Join two JSON objects."""
    if first == b"{}" or second == b"{}":
        return second if first == b"{}" else first
    return first[:-1] + b"," + second[1:]
