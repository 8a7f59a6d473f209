"""Reads in SAPI's encoding `qp`."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
from numpy.typing import NDArray

if TYPE_CHECKING:
    from worker.emulator.qpu.parameters import ProblemParameters
    from worker.emulator.qpu.problem import DecodedProblem
    from worker.emulator.qpu.timing import Timing


def encode(
    problem: DecodedProblem,
    spins: NDArray[np.int8],
    parameters: ProblemParameters,
    timing: Timing,
    lattice_size: int,
    *,
    count_raw: bool,
) -> bytes:
    """Encode reads as the ``answer`` object of SAPI.

    Raw answers hold the reads in their order; histograms hold the distinct reads, by energy.

    Args:
        problem: the problem that was sampled.
        spins: (R, n) int8 reads of -1 and 1 on its active qubits.
        parameters: the answer mode.
        timing: QPU time of the problem.
        lattice_size: number of qubits of the whole lattice.
        count_raw: whether raw answers carry ``num_occurrences`` too, all 1.
    """
    bits = np.packbits(spins > 0, axis=1)
    counts = np.ones(len(bits), "<i4")
    if not parameters.raw:
        first, counts = _unique(bits)
        bits, spins = bits[first], spins[first]
    energies = problem.energies(spins)
    if not parameters.raw:
        order = np.argsort(energies, kind="stable")
        bits, energies, counts = bits[order], energies[order], counts[order]
    answer: dict[str, Any] = {
        "format": "qp",
        "active_variables": _base64(problem.active, "<i4"),
        "energies": _base64(energies, "<f8"),
        "solutions": _base64(bits, "u1"),
        "num_variables": lattice_size,
        "timing": timing.fields(),
    }
    if count_raw or not parameters.raw:
        answer["num_occurrences"] = _base64(counts, "<i4")
    return orjson.dumps(answer)


def _unique(bits: NDArray[np.uint8]) -> tuple[NDArray[np.intp], NDArray[np.integer[Any]]]:
    """Return the first position of each distinct row of ``bits`` (R, b), and how often the row occurs."""
    rows = np.ascontiguousarray(bits).view(np.dtype((np.void, bits.shape[1])))[:, 0]
    _, first, counts = np.unique(rows, return_index=True, return_counts=True)
    return first, counts


def _base64(values: NDArray[Any], dtype: str) -> str:
    return base64.b64encode(np.ascontiguousarray(values, dtype).tobytes()).decode("ascii")
