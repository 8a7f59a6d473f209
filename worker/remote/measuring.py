"""Measures the chip by the answer to one problem: about 4 ms of processor time."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np

from worker.compute.problem_checks import SentProblem, check_problem
from worker.embedding.model.unembedding import unembed
from worker.qubo.ising import spin_form

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from worker.sapi.program import ChipProgram


def measure(
    program: ChipProgram,
    linear: NDArray[np.float64],
    coupling_bias: float,
    packed: NDArray[np.uint8],
    signs: NDArray[np.float64] | None = None,
) -> dict[str, float]:
    """Return the fields of a `ProblemCheck`, to six digits.

    Args:
        program: of the problem's k images.
        linear: (k, n) float64, their linear terms (BINARY).
        coupling_bias: for which h made up when it was sent.
        packed: (R, ceil(A / 8)) uint8, the reads, as if no spin had been reversed.
        signs: (k, 1) or (k, n) of its chains; see `gauges`.
    """
    units = unembed(packed, program.placement.tiling)
    energies = program.model.energies(linear, units.bits, np.float32)
    check = check_problem(
        units.bits,
        sent_problem(program, linear, coupling_bias, signs),
        chain_breaks=float(units.chain_breaks.mean()),
        excess=float((energies.mean(axis=1) - energies.min(axis=1)).mean()),
    )
    return {name: float(f"{value:.6g}") for name, value in asdict(check).items()}


def sent_problem(
    program: ChipProgram,
    linear: NDArray[np.float64],
    coupling_bias: float,
    signs: NDArray[np.float64] | None,
) -> SentProblem:
    """Return h and J as they were sent, unit by unit, but for spins that were reversed.

    The field of couplers acts on the qubits, so it is reversed where these are.
    """
    model, scale = program.model, program.scale
    h = spin_form(linear, model.edges, model.couplings).h * scale
    coupled: NDArray[np.float64] = np.zeros(h.shape)
    coupled += np.bincount(program.placement.owners, program.coupled, h.size).reshape(h.shape)
    if signs is not None:
        coupled *= signs
    J = (model.quadratic + model.quadratic.T) / 4.0 * scale
    return SentProblem(h - coupling_bias * coupled, J, coupled)
