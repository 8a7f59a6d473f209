"""Embeddings as Ocean has them: JSON objects with a list of qubits for each variable, one for each tile.

A file has one such object, a list of them, or an object whose field ``embeddings`` is such a list; so
`annealq embeddings export` writes it, with the graph that they are on.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from schema.codecs.tiling import Tiling
from schema.errors import ParameterError

MAX_BYTES = 64_000_000  # a chip of 2^20 qubits has 8 MB of them

_LARGEST_QUBIT = 2**31 - 1


def parse_tiles(text: str, names: Sequence[str]) -> Tiling:
    """Return the chains in ``text``, in the order of ``names``; nothing says yet that they are on a chip.

    Args:
        text: JSON.
        names: (n,) of the units. Instead, variables may be the numbers of the units in Q's order, from 0.

    Raises:
        ParameterError: it is not JSON of that form, a unit has no chain, or a qubit is in two chains.

    Examples:
        >>> parse_tiles('{"v1": [4, 5], "hc1": [9]}', ["v1", "hc1"]).qubits.tolist()
        [4, 5, 9]
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ParameterError(f"the embedding is not JSON ({error}): write it with `json.dump`") from None
    if isinstance(found, dict) and "embeddings" in found:
        found = found["embeddings"]
    tiles = found if isinstance(found, list) else [found]
    if not tiles:
        raise ParameterError("the embedding has no tile: give a list of qubits for each variable")
    chains = [_chains(tile, names, number) for number, tile in enumerate(tiles)]
    try:
        return Tiling.from_chains(chains)
    except ValueError as error:
        raise ParameterError(f"the embedding cannot be used: {error}") from None


def _chains(tile: Any, names: Sequence[str], number: int) -> list[list[int]]:
    """Return the chains of the tile with this ``number`` in the order of ``names``."""
    if not isinstance(tile, dict):
        raise ParameterError(f"tile {number} is not an object: give a list of qubits for each variable")
    numbered = [str(index) for index in range(len(names))]
    keys = numbered if numbered[0] in tile else names
    if missing := [key for key in keys if key not in tile]:
        raise ParameterError(f"tile {number} has no chain for {missing[0]!r}: {len(names)} units need one")
    if len(tile) > len(keys):
        unknown = min(set(tile) - set(keys))
        raise ParameterError(f"tile {number} has a chain for {unknown!r:.100}, which is not a unit")
    return [_qubits(tile[key], key, number) for key in keys]


def _qubits(chain: Any, key: str, number: int) -> list[int]:
    """Return ``chain``, of the unit ``key`` in this tile, if it is a list of qubits."""
    is_list = isinstance(chain, list) and bool(chain)
    if not is_list or not all(type(qubit) is int and 0 <= qubit <= _LARGEST_QUBIT for qubit in chain):
        raise ParameterError(
            f"tile {number}: the chain of {key!r} is not a list of qubits, whole numbers from 0"
        )
    return list(chain)
