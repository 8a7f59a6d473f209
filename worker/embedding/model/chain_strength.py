"""Uniform torque compensation: how strongly the qubits of a chain are coupled.

Chain strength = prefactor * `torque`. Ocean's ``uniform_torque_compensation`` has the prefactor 1.414, which
is the default here, too; annealq's option ``chain_strength`` is this prefactor.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Prefactor of uniform torque compensation in Ocean (dwave.embedding.chain_strength).
DEFAULT_CHAIN_STRENGTH = 1.414


def torque(J: NDArray[np.float64], units: int) -> float:
    """Return the root mean square of the quadratic biases J (m,) times the root of the mean degree.

    The couplers of a chain must withstand the torque that the neighbours of a unit exert on it when they pull
    its qubits into different directions at random (Raymond et al. 2020, "Improving performance
    of logical qubits by parameter tuning and topology compensation"). Ocean's
    ``uniform_torque_compensation`` is 1.414 times this value. It is 1 if all J are 0.

    Args:
        J: (m,) float64, quadratic biases of the SPIN form.
        units: number of units of the model, n; the mean degree is 2 m / n.

    Examples:
        >>> round(torque(np.array([0.5, -0.5, 0.5]), units=3), 4)
        0.7071
    """
    if not np.any(J):
        return 1.0
    return float(np.sqrt(np.mean(J**2)) * np.sqrt(2.0 * len(J) / units))
