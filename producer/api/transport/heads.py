"""Answers HEAD as GET, without the body."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Heads:
    """ASGI middleware that lets the application answer GET, and passes on the headers only.

    An answer that does not end, such as a stream of events, is ended as if the client had left.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        begun, is_received = asyncio.Event(), False

        async def leave() -> Message:
            nonlocal is_received
            if not is_received:
                message = await receive()
                is_received = not message.get("more_body", False)
                return message
            await begun.wait()
            return {"type": "http.disconnect"}

        async def send_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                await send(message)
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                begun.set()

        asked = {**scope, "method": "GET"}
        try:
            await self._app(asked, leave, send_headers)
        finally:
            scope["route"] = asked.get("route")  # for the metrics
