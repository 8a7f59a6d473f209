"""Libraries that a public name needs, and the extra that installs them."""

from __future__ import annotations

from importlib.util import find_spec

from producer.client import MissingExtra

# By public name: libraries, and the extra of annealq that has them.
_NEEDS = {
    "AnnealqClassifier": (("torch", "sklearn"), "sklearn"),
    "AnnealqSampler": (("dimod",), "worker"),
    "AsyncClient": (("httpx",), "serve"),
    "Client": (("httpx",), "serve"),
    "EnergyHead": (("torch",), "worker"),
    "Network": (("torch",), "worker"),
    "StoredChip": (("dimod",), "worker"),
}


def require_libraries(name: str) -> None:
    """Raise MissingExtra unless what the public ``name`` needs is installed."""
    libraries, extra = _NEEDS.get(name, ((), ""))
    for library in libraries:
        if find_spec(library) is None:
            raise MissingExtra(
                f"annealq.{name} needs {library}, which is not installed: pip install 'annealq[{extra}]'"
            )
