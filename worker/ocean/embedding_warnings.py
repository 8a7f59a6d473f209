"""What Ocean's `EmbeddingComposite` warns about, by the rules and in the words of `dwave.system.warnings`.

There each warning names its Python class. Here it has the name of the class, since JSON holds no classes.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import dimod
import numpy as np
from numpy.typing import NDArray

_LONG_CHAIN = 7  # qubits, as in Ocean
_RELATIVE, _ABSOLUTE = 1e-5, 1e-8  # within which energies are equal, as in `dimod.SampleSet.lowest`

Embedding = Mapping[str, Sequence[int]]
"""A chain of qubits for each variable."""


def warnings_of(
    bqm: dimod.BinaryQuadraticModel,
    embedding: Embedding,
    chain_strength: float,
    energies: NDArray[np.floating],
    broken: NDArray[np.bool_],
) -> list[dict[str, Any]]:
    """Return warnings about an embedded problem and its reads.

    Args:
        bqm: the problem; its J in SPIN form are compared with the chain strength.
        embedding: its chains.
        chain_strength: in the units of ``bqm``.
        energies: (R,) of the reads, by which the lowest are chosen; Ocean takes those of the qubits.
        broken: (R, n), whether each chain of ``embedding`` is broken in each read.
    """
    found = []
    pairs = [list(pair) for pair, bias in bqm.spin.quadratic.items() if abs(bias) >= chain_strength]
    if pairs and any(len(chain) > 1 for chain in embedding.values()):
        text = "Some quadratic biases are stronger than the given chain strength"
        found.append(_warning("ChainStrengthWarning", text, source_interactions=pairs))
    for variable, chain in embedding.items():
        if len(chain) > _LONG_CHAIN:
            text = f"Chain length greater than {_LONG_CHAIN}"
            found.append(_warning("ChainLengthWarning", text, **_chain(variable, chain)))
    if not len(energies):
        return found
    lowest = np.flatnonzero(np.isclose(energies, energies.min(), rtol=_RELATIVE, atol=_ABSOLUTE))
    for place, (variable, chain) in enumerate(embedding.items()):
        for row, read in enumerate(lowest):
            if broken[read, place]:
                text, where = "Lowest-energy samples contain a broken chain", _chain(variable, chain)
                found.append(_warning("ChainBreakWarning", text, logging.ERROR, **where, sample_index=row))
    if broken.any(axis=1).all():
        found.append(_warning("UserWarning", "All samples have broken chains"))
    return found


def _chain(variable: str, chain: Sequence[int]) -> dict[str, Any]:
    return {"target_variables": list(chain), "source_variables": [variable]}


def _warning(name: str, message: str, level: int = logging.WARNING, **data: Any) -> dict[str, Any]:
    return {"type": name, "message": message, "level": level, "data": data}
