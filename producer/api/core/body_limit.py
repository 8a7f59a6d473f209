"""Limits the size of a request's body, and the time in which it must arrive.

Bodies of images may be large and are passed on as they arrive. All others are small, and are received before
the route is called.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from producer.api.core import errors
from producer.api.load.memory import MemoryBudget
from schema.errors import RequestRefused

MAX_CONTROL = 16_000  # bytes of a body without images
_FIRST_S = 20.0  # for the first bytes of a body
_LEAST_RATE = 5_000  # bytes a second, over the whole body


class BodyLimit:
    """ASGI middleware that refuses bodies that are too large, or arrive too slowly.

    ``carries_images`` says of a method and a path whether a body may have up to ``max_body`` bytes. What
    such bodies have sent counts in ``memory`` until their requests are answered.
    """

    def __init__(
        self,
        app: ASGIApp,
        max_body: int,
        carries_images: Callable[[str, str], bool],
        memory: MemoryBudget,
    ) -> None:
        self._app, self._max_body, self._carries_images = app, max_body, carries_images
        self._memory = memory

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_large = self._carries_images(scope["method"], scope["path"])
        limit = self._max_body if is_large else MAX_CONTROL
        body = _Body(receive, limit, _too_large(limit, is_large), self._memory if is_large else None)
        try:
            if _announced(scope) > limit:
                raise _too_large(limit, is_large)
            limited = body.receive if is_large else await _received(body.receive, receive)
        except RequestRefused as refusal:
            await errors.respond(refusal, close=True)(scope, receive, send)
            return
        try:
            await self._app(scope, limited, send)
        finally:
            body.release()


def _announced(scope: Scope) -> int:
    length = dict(scope["headers"]).get(b"content-length", b"0")
    return int(length) if length.isdigit() and len(length) < 20 else 0


async def _received(limited: Receive, rest: Receive) -> Receive:
    """Return the whole body that ``limited`` receives, as one message; then what ``rest`` receives."""
    parts: list[bytes] = []
    more = True
    while more:
        message = await limited()
        if message["type"] != "http.request":
            return _replay([message], rest)
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return _replay([{"type": "http.request", "body": b"".join(parts), "more_body": False}], rest)


def _replay(messages: list[Message], rest: Receive) -> Receive:
    async def receive() -> Message:
        return messages.pop() if messages else await rest()

    return receive


class _Body:
    """A body while it arrives: its size and its time are limited, and it counts in ``memory``."""

    def __init__(
        self, receive: Receive, limit: int, too_large: RequestRefused, memory: MemoryBudget | None
    ) -> None:
        self._receive, self._limit, self._too_large, self._memory = receive, limit, too_large, memory
        self._start = asyncio.get_running_loop().time()
        self._received = self._held = 0
        self._is_complete = False

    async def receive(self) -> Message:
        """Return the next message; raise RequestRefused: 413, too large; 408, too slow; 503, no memory."""
        if self._is_complete:
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._start + _FIRST_S + self._received / _LEAST_RATE):
                message = await self._receive()
        except TimeoutError:
            raise _too_slow() from None
        size = len(message.get("body", b""))
        self._received += size
        self._is_complete = not message.get("more_body", False)
        if self._received > self._limit:
            raise self._too_large
        if self._memory is not None:
            self._memory.take(size)
            self._held += size
        return message

    def release(self) -> None:
        """Give back the memory of the body."""
        if self._memory is not None:
            self._memory.give(self._held)
            self._held = 0


def _too_large(limit: int, is_large: bool) -> RequestRefused:
    if is_large:
        hint = (
            "send fewer images in each run, or a compressed .npz; the operator sets ANNEALQ_API_MAX_BODY_MB"
        )
        return RequestRefused(f"the request is larger than {limit / 1e6:g} MB", 413, hint)
    hint = "send only the fields that GET /openapi.json describes; images go to POST /v1/runs"
    return RequestRefused(f"the request is larger than {limit / 1e3:g} kB", 413, hint)


def _too_slow() -> RequestRefused:
    return RequestRefused(
        f"the request's body arrives too slowly: it has {_FIRST_S:g} s, and more with each byte",
        408,
        f"send at least {_LEAST_RATE / 1e3:g} kB a second",
    )
