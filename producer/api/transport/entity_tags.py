"""Gives answers an ETag, and answers 304 where the client has the same already."""

from __future__ import annotations

import hashlib

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_KEPT = ("etag", "cache-control", "vary", "link", "content-location", "expires")
_PATHS = ("/v1/", "/openapi.json", "/docs", "/problems")


class EntityTags:
    """ASGI middleware for GET: the tag is a digest of the body, or the one that the answer has.

    Answers in several parts, such as streams and large files, are passed on as they are.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET" or not scope["path"].startswith(_PATHS):
            await self._app(scope, receive, send)
            return
        known = Headers(scope=scope).get("if-none-match", "")
        await self._app(scope, receive, _Tagged(send, known).send)


class _Tagged:
    """One answer: its start waits for the first part of the body."""

    def __init__(self, send: Send, known: str) -> None:
        self._send, self._known = send, known
        self._start: Message | None = None
        self._is_unchanged = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] == 200:
            self._start = message
            return
        if self._start is not None:
            await self._begin(self._start, message)
            self._start = None
        if not self._is_unchanged:
            await self._send(message)

    async def _begin(self, start: Message, first: Message) -> None:
        headers = MutableHeaders(scope=start)
        if "etag" not in headers and not first.get("more_body", False):
            # Weak: the same answer may be compressed in several ways.
            digest = hashlib.blake2b(first.get("body", b""), digest_size=12).hexdigest()
            headers["ETag"] = f'W/"{digest}"'
            headers.setdefault("Cache-Control", "private, no-cache")
        if "etag" in headers and _is_known(headers["etag"], self._known):
            self._is_unchanged = True
            kept = [(name, value) for name, value in start["headers"] if name.decode().lower() in _KEPT]
            await self._send({**start, "status": 304, "headers": kept})
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        await self._send(start)


def _is_known(tag: str, known: str) -> bool:
    """Return whether ``known``, a header If-None-Match, has ``tag``; weak and strong tags are compared."""
    tags = {one.strip().removeprefix("W/") for one in known.split(",")}
    return "*" in tags or tag.removeprefix("W/") in tags
