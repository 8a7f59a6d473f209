"""Chooses a solver of the service: by name, by the graph of a solver that was renamed, or by its features."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dwave.cloud import Client
from dwave.cloud.api.exceptions import ResourceNotFoundError
from dwave.cloud.exceptions import SolverNotFoundError

from schema.errors import NoAccess, Offline, UnknownSolver
from schema.parameters import QpuChoice
from worker.sapi.errors import mapping_errors

_LARGEST = "-num_active_qubits"  # an order of the client


GraphsOf = Callable[[str], Sequence[str]]


@dataclass(frozen=True, eq=False)
class ChosenSolver:
    """A solver of the client, which is online; ``asked`` is the name that it was asked for by, if any."""

    solver: Any
    asked: str | None = None


def choose_solver(client: Client, choice: QpuChoice, graphs_of: GraphsOf | None = None) -> ChosenSolver:
    """Return the first solver of ``choice`` that is online; without a choice, the configured or largest QPU.

    If a name is not listed, ``graphs_of`` tells the graphs that it had, newest first: a solver with one of
    them was renamed.

    Raises:
        UnknownSolver: the service lists no such solver.
        Unavailable: the solver does not answer or give access, or is offline.
    """
    if not choice.names:
        return ChosenSolver(_by_features(client, choice.features))
    offline = []
    for name in choice.names:
        solver = _by_name(client, name, graphs_of)
        if solver is not None and solver.online:
            return ChosenSolver(solver, name)
        if solver is not None:
            offline.append(name)
    if offline:
        raise Offline(
            f"QPU {' and '.join(offline)} is offline: the run continues when it is back, or moves with "
            "`annealq runs resume RUN --qpu OTHER`"
        )
    raise UnknownSolver(_unlisted(choice.names, list_all(client)))


def list_chosen(
    solvers: Sequence[Any], choice: QpuChoice, graphs_of: GraphsOf | None = None
) -> list[ChosenSolver]:
    """Return those of ``solvers`` that ``choice`` names, in its order, or all, by name; also offline ones.

    ``graphs_of`` finds renamed ones, as in `choose_solver`.

    Raises:
        UnknownSolver: none of them is listed.
    """
    if choice.among_all:
        found = [ChosenSolver(solver) for solver in sorted(solvers, key=lambda each: str(each.name))]
    else:
        named = {str(solver.name): solver for solver in solvers}
        matches = [(named.get(name) or _by_graph(solvers, name, graphs_of), name) for name in choice.names]
        found = [ChosenSolver(solver, name) for solver, name in matches if solver is not None]
    if not found:
        raise UnknownSolver(_unlisted(choice.names, solvers))
    return list({str(each.solver.name): each for each in reversed(found)}.values())[::-1]


def list_all(client: Client, *, refresh: bool = False) -> list[Any]:
    """Return all QPUs of the service that anneal, the online ones first.

    Args:
        refresh: do not use what the client has stored.

    Raises:
        Unavailable: the service does not answer, or does not list them.
    """
    return _list(client, refresh=refresh) + _list(client, online=False)


def _unlisted(names: Sequence[str], solvers: Sequence[Any]) -> str:
    listed = ", ".join(solver.name for solver in solvers) or "no QPU"
    return (
        f"solver not found: {', '.join(names) or 'any QPU'}. The service lists {listed}; "
        "`annealq runs resume RUN --qpu NAME` moves a run"
    )


def _by_graph(solvers: Sequence[Any], name: str, graphs_of: GraphsOf | None) -> Any:
    """Return the one of ``solvers`` with the newest graph that ``name`` had; None if there is none."""
    by_graph = {solver.graph_id: solver for solver in solvers}
    graphs = () if graphs_of is None else graphs_of(name)
    return next((by_graph[graph] for graph in graphs if graph in by_graph), None)


def _by_name(client: Client, name: str, graphs_of: GraphsOf | None) -> Any:
    """Return the solver ``name``, or else the one with the newest of its graphs; None if there is none."""
    with mapping_errors():
        try:
            named = _annealers(client, name=name) or _annealers(client, name=name, online=False)
        except SolverNotFoundError:
            named = []
    if named or graphs_of is None:
        return named[0] if named else None
    return _by_graph(list_all(client), name, graphs_of)


def _by_features(client: Client, features: Mapping[str, Any] | None) -> Any:
    wanted = dict(client.config.solver or {}) if features is None else dict(features)
    order = wanted.pop("order_by", _LARGEST)
    if online := _list(client, order_by=order, **wanted):
        return online[0]
    offline = _list(client, **{**wanted, "online": False})
    text = ", ".join(f"{name} {value}" for name, value in wanted.items()) or "any QPU"
    if offline:
        raise Offline(f"solver {offline[0].name} is offline ({text})")
    raise UnknownSolver(f"solver not found: {text}. `dwave solvers --list` shows all solvers")


def _list(client: Client, **features: Any) -> list[Any]:
    """Return the QPUs of the service with ``features``; raise Unavailable if it does not list them."""
    with mapping_errors():
        try:
            return _annealers(client, **{"qpu": True, **features})
        except SolverNotFoundError:
            raise
        except ResourceNotFoundError as error:
            # It may also be an outage, so the run waits.
            raise NoAccess(
                f"{client.config.endpoint} does not list its solvers (404): {error}. An endpoint of SAPI "
                "ends in /sapi/v2/"
            ) from None


def _annealers(client: Client, **features: Any) -> list[Any]:
    """Return the solvers of the client that anneal: a gate-model solver is listed as a QPU, too."""
    return [solver for solver in client.get_solvers(**features) if "ising" in solver.supported_problem_types]
