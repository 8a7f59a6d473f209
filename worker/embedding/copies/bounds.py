"""Counts the fewest qubits and couplers that a model can need on a solver."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from schema.errors import Refused

if TYPE_CHECKING:
    from worker.embedding.model.graphs import Interactions, SolverGraph


def fewest_qubits(graph: Interactions, solver: SolverGraph) -> int:
    """Return a lower bound on the qubits of one embedding of ``graph`` on ``solver``.

    A chain of L qubits is held together by at least L - 1 couplers, so it has at most L (d - 2) + 2 couplers
    to
    other chains, where d is the largest number of couplers of any qubit of the solver. A unit of degree D
    needs
    that many: L >= (D - 2) / (d - 2).
    """
    degrees = np.bincount(graph.edges.ravel(), minlength=graph.units)
    most = int(np.bincount(solver.couplers.ravel()).max())
    if most <= 2:
        return graph.units
    lengths = np.maximum(1, -(-(degrees - 2) // (most - 2)))
    return int(lengths.sum())


def refuse_too_large(graph: Interactions, solver: SolverGraph) -> None:
    """Raise Refused if ``solver`` has too few qubits or couplers for one embedding of ``graph``."""
    needed, there = fewest_qubits(graph, solver), len(solver.qubits)
    where = f"solver {solver.name} {solver.graph_id}"
    if needed > there:
        raise Refused(
            f"{graph.units} units need at least {needed} qubits, {where} has {there} working ones: "
            f"{needed - there} are missing; use a smaller network, fold its visible units, or a larger solver"
        )
    couplers = len(graph.edges) + needed - graph.units
    if couplers > len(solver.couplers):
        raise Refused(
            f"{len(graph.edges)} interactions need at least {couplers} couplers, {where} has "
            f"{len(solver.couplers)}: {couplers - len(solver.couplers)} are missing; "
            "use a smaller network or a larger solver"
        )
