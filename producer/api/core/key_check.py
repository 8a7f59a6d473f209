"""Identifies the caller of a request before anything of its body is received or parsed."""

from __future__ import annotations

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from producer.api.core import errors
from producer.api.keys.authentication import Authenticator
from schema.database import act_as
from schema.errors import AnnealqError

OPEN = frozenset(("/healthz", "/readyz", "/openapi.json", "/docs"))
"""Paths of the API that need no key."""


class KeyCheck:
    """ASGI middleware that refuses requests to the API without a valid key.

    It sets `request.state.caller`, who is the actor of the events of the request. Paths outside of the API
    are the dashboard's, which identifies its visitors itself.
    """

    def __init__(self, app: ASGIApp, authenticator: Authenticator) -> None:
        self._app, self._authenticator = app, authenticator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and needs_key(scope["path"]):
            request = Request(scope)
            try:
                request.state.caller = await self._authenticator.identify(request)
            except AnnealqError as error:
                await errors.respond(error, close=has_body(scope))(scope, receive, send)
                return
            with act_as(actor=request.state.caller.name):
                await self._app(scope, receive, send)
            return
        await self._app(scope, receive, send)


def needs_key(path: str) -> bool:
    """Return whether ``path`` is one of the API that needs a key."""
    return path not in OPEN and (path == "/metrics" or path == "/v1" or path.startswith("/v1/"))


def has_body(scope: Scope) -> bool:
    """Return whether the request of ``scope`` announces a body."""
    headers = dict(scope["headers"])
    return b"transfer-encoding" in headers or headers.get(b"content-length", b"0") != b"0"
