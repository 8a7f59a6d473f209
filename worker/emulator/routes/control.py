"""Endpoints outside of SAPI: the ledger, and faults on demand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response

from schema.errors import ParameterError
from worker.emulator.qpu.presets import check_name
from worker.emulator.qpu.schedules import is_number
from worker.emulator.qpu.solver import GATE_CATEGORIES
from worker.emulator.routes import wire
from worker.emulator.service import faults
from worker.emulator.service.machine import charged

if TYPE_CHECKING:
    from worker.emulator.service.machine import Machine

_OF_SOLVERS = ("offline", "online", "abandon", "regraph")
_SETTINGS = ("max_queued", "shared_queue", "gate_solver", "quota_conversion_rate", "temperature")
_ACTIONS = (*_OF_SOLVERS, "rename", *_SETTINGS, "faults", "clear")


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
        """Return active faults with their counts, the solvers with graph ids and states, and the queue."""
        machine = self._machine
        solvers = {
            name: {"graph_id": solver.chip.graph_id, "online": machine.online(name)}
            for name, solver in machine.solvers.items()
        }
        return wire.plain(
            {
                "faults": [fault.describe() for fault in machine.faults.active],
                "solvers": solvers,
                **{name: getattr(machine, name) for name in _SETTINGS},
            }
        )

    async def change(self, request: Request, content: bytes) -> Response:
        """Change faults and solvers by the JSON ``content`` of ``request``, then show them.

        Fields: ``clear`` (true), ``faults`` (a list to add), lists of names (``offline``, ``online``,
        ``abandon``, ``regraph``), ``rename`` (new names by old ones), and settings (``max_queued``,
        ``shared_queue``, ``gate_solver``, ``quota_conversion_rate``, ``temperature``).
        """
        changes, machine = wire.parse(content), self._machine
        if not isinstance(changes, Mapping) or not changes:
            raise ParameterError(f"send an object with some of {', '.join(_ACTIONS)}")
        if unknown := set(changes) - set(_ACTIONS):
            raise ParameterError(f"unknown {min(unknown)!r:.80}; available: {', '.join(_ACTIONS)}")
        new = [faults.parse(fault) for fault in _list(changes, "faults")]
        named = {action: _names(_list(changes, action), machine) for action in _OF_SOLVERS}
        machine.check_regraph(named["regraph"])
        renames, settings = _renames(changes, machine), _settings(changes)
        if changes.get("clear"):
            machine.faults.clear()
            machine.restore_options()
        machine.faults.active += new
        for name, value in settings.items():
            setattr(machine, name, value)
        for name in named["regraph"]:
            machine.regraph(name)
        for action in ("offline", "online"):
            for name in named[action]:
                machine.set_online(name, online=action == "online")
        for name in named["abandon"]:
            machine.abandon(name)
        for old, name in renames.items():
            machine.rename(old, name)
        return await self.show(request, content)


def _names(names: list[object], machine: Machine) -> list[str]:
    """Return the ``names`` of solvers; check all first, so that nothing is half done."""
    for name in names:
        if name not in machine.solvers:
            raise ParameterError(f"unknown solver {name!r:.80}; available: {', '.join(machine.solvers)}")
    return [str(name) for name in names]


def _renames(changes: Mapping[str, object], machine: Machine) -> dict[str, str]:
    renames = changes.get("rename", {})
    if not isinstance(renames, Mapping) or not all(isinstance(name, str) for name in renames.values()):
        raise ParameterError("rename must be an object with the new name of each solver to rename")
    _names(list(renames), machine)
    for name in renames.values():
        check_name(name)
    if taken := set(renames.values()) & set(machine.solvers):
        raise ParameterError(f"a solver is called {min(taken)} already; choose another name")
    if len(set(renames.values())) < len(renames):
        raise ParameterError("rename must give each solver another name")
    return dict(renames)


def _settings(changes: Mapping[str, object]) -> dict[str, object]:
    """Return the machine's settings in ``changes``."""
    settings = {name: changes[name] for name in _SETTINGS if name in changes}
    limit = settings.get("max_queued", 0)
    if type(limit) is not int or not 0 <= limit <= 1_000_000:
        raise ParameterError(f"max_queued must be 0 to 1,000,000, not {limit!r:.80}")
    if not isinstance(settings.get("shared_queue", False), bool):
        raise ParameterError("shared_queue must be true or false")
    rate = settings.get("quota_conversion_rate", 1)
    if not is_number(rate) or not 0 < rate <= 1000:  # type: ignore[operator] # it is a number
        raise ParameterError(f"quota_conversion_rate must be above 0, up to 1,000, not {rate!r:.80}")
    factor = settings.get("temperature", 1)
    if not is_number(factor) or not 0.1 <= factor <= 10:  # type: ignore[operator] # it is a number
        raise ParameterError(f"temperature must be 0.1 to 10, not {factor!r:.80}")
    if "gate_solver" in settings:
        settings["gate_solver"] = _category(settings["gate_solver"])
    return settings


def _category(value: object) -> str | None:
    if isinstance(value, bool):
        return GATE_CATEGORIES[0] if value else None
    if value not in GATE_CATEGORIES:
        raise ParameterError(f"gate_solver must be true, false or a category: {', '.join(GATE_CATEGORIES)}")
    return str(value)


def _list(changes: Mapping[str, object], name: str) -> list[object]:
    value = changes.get(name, [])
    if not isinstance(value, list):
        raise ParameterError(f"{name} must be a list")
    return value
