"""Tells a caller how many requests are left, by the headers of draft-ietf-httpapi-ratelimit-headers."""

from __future__ import annotations

from dataclasses import dataclass

_WINDOW_S = 60


@dataclass(frozen=True)
class RequestRate:
    """Requests of a minute: the limit, how many are ``left``, and the seconds until the next minute.

    ``left`` is -1 if this request is too many.
    """

    limit: int
    left: int
    resets_s: int

    def headers(self) -> dict[str, str]:
        """Return the headers."""
        return {
            "RateLimit-Policy": f'"requests";q={self.limit};w={_WINDOW_S}',
            "RateLimit": f'"requests";r={max(self.left, 0)};t={self.resets_s}',
        }
