"""Names of networks: `NAME`, and `NAME@VERSION` for one version."""

from __future__ import annotations

from schema.errors import NetworkError

_MAX_NAME = 64  # characters
_MAX_VERSION_DIGITS = 9  # what an SQL integer holds


def check_name(name: str) -> str:
    """Return ``name``; raise NetworkError if no network can have it."""
    if not 1 <= len(name) <= _MAX_NAME or not name.isprintable() or "@" in name:
        raise NetworkError(
            f"{name[:_MAX_NAME]!r} is not a valid name: use up to {_MAX_NAME} printable characters without @"
        )
    return name


def parse(wanted: str) -> tuple[str, int | None]:
    """Split ``wanted``, `NAME` or `NAME@VERSION`; raise NetworkError where the version is not a number."""
    name, _, version = wanted.partition("@")
    if version and not (version.isdecimal() and len(version) <= _MAX_VERSION_DIGITS):
        raise NetworkError(f"network {wanted!r}: after @ comes a version, a whole number")
    return name, int(version) if version else None
