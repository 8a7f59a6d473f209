"""How strongly the qubits of a chain are coupled."""

from __future__ import annotations

import numpy as np

from worker.embedding.model.scale import FloatArray

# Prefactor of uniform torque compensation in Ocean (dwave.embedding.chain_strength).
DEFAULT_CHAIN_STRENGTH = 1.414


def torque(J: FloatArray, units: int) -> float:
    """Root mean square of the couplings J (m,) times the root of the mean degree of n units.

    1 where there are no couplings. This is uniform torque compensation without its prefactor
    (Raymond et al. 2020, arXiv 2006.10555; Ocean's `uniform_torque_compensation`).
    """
    if not np.any(J):
        return 1.0
    return float(np.sqrt(np.mean(J**2)) * np.sqrt(2.0 * len(J) / units))
