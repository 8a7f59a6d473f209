"""A tiling that a search found, and one that is stored."""

from __future__ import annotations

from dataclasses import dataclass

from schema.codecs.tiling import Tiling


@dataclass(frozen=True)
class FoundTiling:
    """A tiling that is valid on its solver, and how it was found.

    Attributes:
        tiling: chains of all copies.
        method: what made most of its copies: ``layered``, ``lattice``, ``minorminer`` or ``repaired``;
            ``imported``: a user.
        seconds: wall clock of the search.
        seed: gives the same tiling again unless the time limit ended the search.
    """

    tiling: Tiling
    method: str
    seconds: float
    seed: int


@dataclass(frozen=True, eq=False)
class StoredEmbedding:
    """An embedding that is ready.

    Attributes:
        seconds: duration of its search.
        searched_s: seconds that this call waited for it, 0 if it was already stored.
    """

    id: int
    tiling: Tiling
    seconds: float
    searched_s: float

    @property
    def hit(self) -> bool:
        """Return whether it was already stored, so that nothing was searched."""
        return self.searched_s == 0.0
