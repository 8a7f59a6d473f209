"""Where a request comes from: a page of another site, a proxy, or a program on this machine."""

from __future__ import annotations

from urllib.parse import urlsplit

from fastapi import Request

from schema.errors import RequestRefused

_LOCAL = ("127.0.0.1", "::1", "localhost")
_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "via")


def refuse_all_but_local(request: Request) -> None:
    """Check a ``request`` that needs no key, since only programs on this machine may send it.

    Raises:
        RequestRefused: 403, a proxy forwarded it, it came for another host, or from another site's page.
    """
    headers = request.headers
    if any(name in headers for name in _FORWARDED):
        problem = "a proxy forwarded the request, so that anyone may have sent it"
    elif _host(f"//{headers.get('host', '')}") not in _LOCAL:
        problem = "the request names a host that is not this machine"
    elif headers.get("sec-fetch-site", "none") not in ("none", "same-origin") or not _is_own(request):
        problem = "a page of another site sent the request"
    else:
        return
    raise RequestRefused(
        f"without a key, only programs on this machine are served: {problem}",
        403,
        "start `annealq serve` without --no-auth, and send a key",
    )


def _is_own(request: Request) -> bool:
    origin = request.headers.get("origin")
    if origin is None:
        return True
    try:
        return urlsplit(origin).netloc == request.headers.get("host")
    except ValueError:
        return False


def _host(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None
