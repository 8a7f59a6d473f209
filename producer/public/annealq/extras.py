"""Libraries that a public name needs, and the extra that installs them."""

from __future__ import annotations

from importlib.util import find_spec

from producer.client import MissingExtra

# By public name: a library, and the extra of annealq that has it.
_NEEDS = {
    "AnnealqSampler": ("dimod", "worker"),
    "AsyncClient": ("httpx", "serve"),
    "Client": ("httpx", "serve"),
    "EnergyHead": ("torch", "worker"),
    "Network": ("torch", "worker"),
    "StoredChip": ("dimod", "worker"),
}


def require_libraries(name: str) -> None:
    """Raise MissingExtra unless what the public ``name`` needs is installed."""
    library, extra = _NEEDS.get(name, (None, None))
    if library is not None and find_spec(library) is None:
        raise MissingExtra(
            f"annealq.{name} needs {library}, which is not installed: pip install 'annealq[{extra}]'"
        )
