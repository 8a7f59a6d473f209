"""No request body is longer than is allowed: refused by its header, else while it comes in."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from producer.api.core import errors
from schema.errors import RequestRefused


class BodyLimit:
    """ASGI middleware; ``most``: bytes of a body."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app, self._most = app, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if announced.isdigit() and int(announced) > self._most:
            await errors.respond(self._refusal())(scope, receive, send)
            return
        await self._app(scope, self._counting(receive), send)

    def _counting(self, receive: Receive) -> Receive:
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._most:
                raise self._refusal()
            return message

        return counted

    def _refusal(self) -> RequestRefused:
        return RequestRefused(
            f"the request is larger than {self._most / 1e6:g} MB",
            413,
            "send fewer images in each run, or a compressed .npz; the operator sets ANNEALQ_API_MAX_BODY_MB",
        )
