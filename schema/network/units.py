"""Names of a network's units, as figures and exported models have them."""

from __future__ import annotations

from collections.abc import Sequence

# Letters of Higham and Bedford, arXiv 2107.08710, section 3.3, by kind of layer.
LETTERS = {"visible": "v", "pool": "hp", "conv": "h", "dense": "h", "classes": "hc"}


def unit_names(sizes: Sequence[int], kinds: Sequence[str]) -> list[str]:
    """Return names of units (v1, hp1, hc1 ...) for layers of these ``sizes`` and ``kinds``.

    >>> unit_names((2, 1, 2), ("visible", "pool", "classes"))
    ['v1', 'v2', 'hp1', 'hc1', 'hc2']
    """
    names, used = [], dict.fromkeys(LETTERS.values(), 0)
    for size, kind in zip(sizes, kinds, strict=True):
        letter = LETTERS[kind]
        names += [f"{letter}{used[letter] + k}" for k in range(1, size + 1)]
        used[letter] += size
    return names
