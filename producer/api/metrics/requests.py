"""Middleware that measures requests, by the template of their route: the number of series is limited."""

from __future__ import annotations

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from producer.api.metrics.process import ProcessMetrics

_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
_OTHER = "other"  # what no route and no method of ours is: such names come from the client
_ABORTED = 499  # the client went before an answer; nginx's number for it


class RequestMetrics:
    """ASGI middleware: outermost, so that refusals and errors are measured, too."""

    def __init__(self, app: ASGIApp, metrics: ProcessMetrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun, status, seconds = time.perf_counter(), _ABORTED, None

        async def answer(message: Message) -> None:
            nonlocal status, seconds
            if message["type"] == "http.response.start":
                status = message["status"]
                if _is_stream(message):
                    seconds = time.perf_counter() - begun
            await send(message)

        with self._metrics.in_flight.track_inprogress():
            try:
                await self._app(scope, receive, answer)
            finally:
                method = scope["method"] if scope["method"] in _METHODS else _OTHER
                elapsed_s = time.perf_counter() - begun if seconds is None else seconds
                self._metrics.request(_route(scope), method, status, elapsed_s)


def _route(scope: Scope) -> str:
    """Return the template of the path of ``scope``, which is refused before it has a route, or has none."""
    return str(getattr(scope.get("route"), "path", _OTHER))


def _is_stream(message: Message) -> bool:
    return any(
        name == b"content-type" and value.startswith(b"text/event-stream")
        for name, value in message["headers"]
    )
