"""Lets pages of the sites that the operator names read answers (CORS)."""

from __future__ import annotations

from typing import Any

_SENT = ("Authorization", "Content-Type", "Idempotency-Key", "If-None-Match", "Last-Event-ID", "X-Request-Id")
_READ = ("ETag", "Link", "Location", "RateLimit", "RateLimit-Policy", "Retry-After", "X-Request-Id")


def cors_options(origins: tuple[str, ...]) -> dict[str, Any]:
    """Return the options of Starlette's CORSMiddleware for ``origins``; cookies are never accepted."""
    return {
        "allow_origins": origins,
        "allow_methods": ("GET", "HEAD", "POST", "PATCH", "DELETE"),
        "allow_headers": _SENT,
        "expose_headers": _READ,
        "max_age": 3600,
    }
