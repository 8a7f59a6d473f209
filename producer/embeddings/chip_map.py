"""What the stored reads of a chip say about its qubits, computed by a program with the worker's packages."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_WORST = 10


@dataclass(frozen=True, eq=False)
class ChipMap:
    """Values of the qubits of a chip that are in chains.

    Attributes:
        problems: number of those that were read.
        qubits: (Q,) int64, ascending.
        field_errors: (Q,) float64, units of h: the error of the chain divided by its number of qubits.
        field_spreads: (Q,) float64, their standard errors.
        broken: (Q,) float64, share of broken chains, times the mean of the unit over all tiles; NaN if none
            ever broke.
    """

    problems: int
    qubits: NDArray[np.int64]
    field_errors: NDArray[np.float64]
    field_spreads: NDArray[np.float64]
    broken: NDArray[np.float64]

    def to_dict(self) -> dict[str, Any]:
        """Return the values by name, ready for JSON."""
        values = {name: value.tolist() for name, value in vars(self).items() if name != "problems"}
        broken = [None if np.isnan(value) else value for value in self.broken.tolist()]
        return {"problems": self.problems, **values, "broken": broken}

    def worst(self) -> list[tuple[int, float, float]]:
        """Return qubit, field error and its standard error, where the error is largest, largest first."""
        order = np.argsort(-np.abs(self.field_errors), kind="stable")[:_WORST]
        columns = (self.qubits[order], self.field_errors[order], self.field_spreads[order])
        return list(zip(*(column.tolist() for column in columns), strict=True))


def parse(text: str) -> ChipMap:
    """Return the map in ``text``, which the program of that name prints."""
    found = json.loads(text)
    values = {name: np.array(found[name], np.float64) for name in ("field_errors", "field_spreads", "broken")}
    return ChipMap(found["problems"], np.array(found["qubits"], np.int64), **values)
