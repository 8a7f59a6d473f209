"""Endpoints outside of SAPI: the ledger, and faults on demand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response

from schema.errors import ParameterError
from worker.emulator.routes import wire
from worker.emulator.service import faults
from worker.emulator.service.machine import charged

if TYPE_CHECKING:
    from worker.emulator.service.machine import Machine

_ACTIONS = ("offline", "online", "regraph", "faults", "clear")


class Control:
    """Handlers of ``/ledger`` and ``/faults``: each takes request and body."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    async def ledger(self, request: Request, _content: bytes) -> Response:
        """Return every accepted problem and the sum of charges; ``?label=`` selects labels that contain the
        text of ``request``.
        """
        label = request.query_params.get("label", "")
        entries = [
            entry for entry in self._machine.store.ledger() if not label or label in (entry.label or "")
        ]
        return wire.plain({"totals": charged(entries), "problems": [asdict(entry) for entry in entries]})

    async def show(self, _request: Request, _content: bytes) -> Response:
        """Return active faults with their counts, and the solvers with graph ids and states."""
        machine = self._machine
        solvers = {
            name: {"graph_id": solver.chip.graph_id, "online": machine.online(name)}
            for name, solver in machine.solvers.items()
        }
        return wire.plain(
            {"faults": [fault.describe() for fault in machine.faults.active], "solvers": solvers}
        )

    async def change(self, request: Request, content: bytes) -> Response:
        """Change faults and solvers by the JSON ``content`` of ``request``, then show them.

        Fields: ``clear`` (true), ``faults`` (a list to add), ``offline``, ``online``, ``regraph`` (lists of
        names).
        """
        changes = wire.parse(content)
        if not isinstance(changes, Mapping) or not changes:
            raise ParameterError(f"send an object with some of {', '.join(_ACTIONS)}")
        if unknown := set(changes) - set(_ACTIONS):
            raise ParameterError(f"unknown {min(unknown)!r:.80}; available: {', '.join(_ACTIONS)}")
        new = [faults.parse(fault) for fault in _list(changes, "faults")]
        named = {
            action: _names(changes, action, self._machine) for action in ("offline", "online", "regraph")
        }
        if changes.get("clear"):
            self._machine.faults.active.clear()
        self._machine.faults.active += new
        for name in named["regraph"]:
            self._machine.regraph(name)
        for action in ("offline", "online"):
            for name in named[action]:
                self._machine.set_online(name, online=action == "online")
        return await self.show(request, content)


def _names(changes: Mapping[str, object], action: str, machine: Machine) -> list[str]:
    """Return the solvers named for an action; check all first, so that nothing is half done."""
    names = _list(changes, action)
    for name in names:
        if name not in machine.solvers:
            raise ParameterError(f"unknown solver {name!r:.80}; available: {', '.join(machine.solvers)}")
    return [str(name) for name in names]


def _list(changes: Mapping[str, object], name: str) -> list[object]:
    value = changes.get(name, [])
    if not isinstance(value, list):
        raise ParameterError(f"{name} must be a list")
    return value
