"""Limits the size of a request's body: by its Content-Length, else while the body is received."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from producer.api.core import errors
from schema.errors import RequestRefused


class BodyLimit:
    """ASGI middleware that refuses bodies of more than ``max_body`` bytes."""

    def __init__(self, app: ASGIApp, max_body: int) -> None:
        self._app, self._max_body = app, max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if announced.isdigit() and int(announced) > self._max_body:
            await errors.respond(self._refusal())(scope, receive, send)
            return
        await self._app(scope, self._counting(receive), send)

    def _counting(self, receive: Receive) -> Receive:
        received = 0

        async def count() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._max_body:
                raise self._refusal()
            return message

        return count

    def _refusal(self) -> RequestRefused:
        return RequestRefused(
            f"the request is larger than {self._max_body / 1e6:g} MB",
            413,
            "send fewer images in each run, or a compressed .npz; the operator sets ANNEALQ_API_MAX_BODY_MB",
        )
