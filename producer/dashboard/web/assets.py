"""Style sheet and scripts. Their addresses contain a digest, so that browsers may store them for good."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path

from producer.dashboard.web import rendering
from schema.errors import NotFound

_STATIC = Path(__file__).parents[1] / "static"
_SCRIPTS = ("htmx.min.js", "pages.js")
_DIGITS = 12  # of the digest


@dataclass(frozen=True)
class Asset:
    """A file that browsers load; ``path`` is its address below the pages' root."""

    path: str
    media_type: str
    body: bytes


@functools.cache
def assets() -> dict[str, Asset]:
    """Return the style sheet and the scripts by their plain names."""
    style = rendering.environment().get_template("style.css.j2").render().encode()
    found = {"style.css": _asset("style.css", "text/css", style)}
    for name in _SCRIPTS:
        found[name] = _asset(name, "text/javascript", (_STATIC / name).read_bytes())
    return found


def find(digest: str, name: str) -> Asset:
    """Return the asset ``name`` with this ``digest``; raise NotFound for another version of it."""
    asset = assets().get(name)
    if asset is None or asset.path != _path(digest, name):
        raise NotFound(f"there is no file {name} in this version")
    return asset


def _asset(name: str, media_type: str, body: bytes) -> Asset:
    return Asset(_path(hashlib.sha256(body).hexdigest()[:_DIGITS], name), media_type, body)


def _path(digest: str, name: str) -> str:
    return f"/static/{digest}/{name}"
