"""Identifies the caller of a request before anything of its body is received or parsed."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from producer.api.core import errors
from producer.api.keys.authentication import Authenticator
from producer.api.keys.rates import RequestRate
from schema.database import act_as
from schema.errors import AnnealqError

OPEN = frozenset(("/healthz", "/readyz", "/openapi.json", "/docs"))
"""Paths of the API that need no key."""


class KeyCheck:
    """ASGI middleware that refuses requests to the API without a valid key.

    It sets `request.state.caller`, who is the actor of the events of the request, and tells limited callers
    how many requests are left. Paths outside of the API are the dashboard's, which identifies its visitors
    itself.
    """

    def __init__(self, app: ASGIApp, authenticator: Authenticator) -> None:
        self._app, self._authenticator = app, authenticator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and needs_key(scope["path"]):
            request = Request(scope)

            async def answer(message: Message) -> None:
                rate: RequestRate | None = getattr(request.state, "rate", None)
                if message["type"] == "http.response.start" and rate is not None:
                    MutableHeaders(scope=message).update(rate.headers())
                await send(message)

            try:
                request.state.caller = await self._authenticator.identify(request)
            except AnnealqError as error:
                await errors.respond(error, close=has_body(scope))(scope, receive, answer)
                return
            with act_as(actor=request.state.caller.name):
                await self._app(scope, receive, answer)
            return
        await self._app(scope, receive, send)


def needs_key(path: str) -> bool:
    """Return whether ``path`` is one of the API that needs a key."""
    return path not in OPEN and (path == "/metrics" or path == "/v1" or path.startswith("/v1/"))


def has_body(scope: Scope) -> bool:
    """Return whether the request of ``scope`` announces a body."""
    headers = dict(scope["headers"])
    return b"transfer-encoding" in headers or headers.get(b"content-length", b"0") != b"0"
