"""Shares the errors of chains and pairs of chains among the qubits and couplers of a chip."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from worker.compute.twin.fields import FieldErrors
from worker.embedding.model.placement import Placement

FloatArray = NDArray[np.float64]


@dataclass(eq=False)
class ChipErrorSums:
    """Errors of each qubit and coupler: means over embeddings, weighted by the reliability of their chains.

    A chain feels the sum of the field errors of its qubits, a pair of chains that of its couplers: each of
    them gets an equal share.

    Args:
        qubits: (Q,) int32, those of the chip, ascending.
        couplers: (M, 2) int32, i < j, ascending.
    """

    qubits: NDArray[np.int32]
    couplers: NDArray[np.int32]
    _sums: FloatArray = field(init=False)
    _coupler_sums: FloatArray = field(init=False)

    def __post_init__(self) -> None:
        self._sums = np.zeros((4, len(self.qubits)))  # weight, field error, gain, reliability
        self._coupler_sums = np.zeros((2, len(self.couplers)))

    def add(self, placement: Placement, errors: FieldErrors) -> None:
        """Add the ``errors`` of the tiles of an embedding, placed by ``placement``."""
        weights = np.maximum(errors.reliability.ravel(), 1e-6)
        fields = errors.fields.ravel() / placement.tiling.lengths.ravel()
        values = np.stack((np.ones_like(weights), fields, errors.gains.ravel(), errors.reliability.ravel()))
        places = np.searchsorted(self.qubits, placement.active[placement.columns])
        for target, value in zip(self._sums, values * weights, strict=True):
            np.add.at(target, places, value[placement.owners])
        self._add_couplers(placement, errors)

    def _add_couplers(self, placement: Placement, errors: FieldErrors) -> None:
        serves = placement.terms >= 0
        chains, n = placement.chains[serves], errors.fields.shape[1]
        e = errors.couplings[chains[:, 0] // n, chains[:, 0] % n, chains[:, 1] % n]
        size = int(self.qubits.max()) + 1
        codes = self.couplers.astype(np.int64) @ (size, 1)
        places = np.searchsorted(codes, np.sort(placement.couplers[serves], axis=1) @ (size, 1))
        np.add.at(self._coupler_sums[0], places, 1.0)
        np.add.at(self._coupler_sums[1], places, e * placement.parts[serves])

    @property
    def h(self) -> FloatArray:
        """Return the field error (Q,) of each qubit in units of h; NaN where no chain used it."""
        return self._mean(self._sums, 1)

    @property
    def gains(self) -> FloatArray:
        """Return the error (Q,) of each qubit's gain; NaN where no chain used it."""
        return self._mean(self._sums, 2)

    @property
    def reliability(self) -> FloatArray:
        """Return how much of the field error (Q,) the reads explain, 0 to 1; NaN where no chain used it."""
        return self._mean(self._sums, 3)

    @property
    def J(self) -> FloatArray:  # noqa: N802 - the field's name
        """Return the error (M,) of each coupler in units of J; NaN where no pair of chains used it."""
        return self._mean(self._coupler_sums, 1)

    @staticmethod
    def _mean(sums: FloatArray, row: int) -> FloatArray:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(np.where(sums[0] > 0.0, sums[row] / sums[0], np.nan), np.float64)
