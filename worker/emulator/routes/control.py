"""Beside SAPI: the ledger, and what is to go wrong."""

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
        """Every accepted problem and every charged microsecond; ``?label=`` takes a part of their label."""
        label = request.query_params.get("label", "")
        entries = [
            entry for entry in self._machine.store.ledger() if not label or label in (entry.label or "")
        ]
        return wire.plain({"totals": charged(entries), "problems": [asdict(entry) for entry in entries]})

    async def show(self, _request: Request, _content: bytes) -> Response:
        """Faults in force and how often they happened; solvers, their graphs, whether they are online."""
        machine = self._machine
        solvers = {
            name: {"graph_id": solver.chip.graph_id, "online": machine.online(name)}
            for name, solver in machine.solvers.items()
        }
        return wire.plain(
            {"faults": [fault.describe() for fault in machine.faults.active], "solvers": solvers}
        )

    async def change(self, request: Request, content: bytes) -> Response:
        """``clear``: true; ``faults``: list to add; ``offline``, ``online``, ``regraph``: lists of names."""
        given = wire.parse(content)
        if not isinstance(given, Mapping) or not given:
            raise ParameterError(f"send an object with some of {', '.join(_ACTIONS)}")
        if unknown := set(given) - set(_ACTIONS):
            raise ParameterError(f"no {min(unknown)!r:.80}; there are: {', '.join(_ACTIONS)}")
        new = [faults.parse(fault) for fault in _list(given, "faults")]
        named = {action: _names(given, action, self._machine) for action in ("offline", "online", "regraph")}
        if given.get("clear"):
            self._machine.faults.active.clear()
        self._machine.faults.active += new
        for name in named["regraph"]:
            self._machine.regraph(name)
        for action in ("offline", "online"):
            for name in named[action]:
                self._machine.set_online(name, online=action == "online")
        return await self.show(request, content)


def _names(given: Mapping[str, object], action: str, machine: Machine) -> list[str]:
    """Solvers named for an action; all are known, so that nothing is half done."""
    names = _list(given, action)
    for name in names:
        if name not in machine.solvers:
            raise ParameterError(f"there is no solver {name!r:.80}; there are: {', '.join(machine.solvers)}")
    return [str(name) for name in names]


def _list(given: Mapping[str, object], name: str) -> list[object]:
    value = given.get(name, [])
    if not isinstance(value, list):
        raise ParameterError(f"{name} must be a list")
    return value
