"""One log line for each request, and its id: taken from `X-Request-Id`, or made, and sent back."""

from __future__ import annotations

import logging
import re
import secrets
import time

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from producer.api.core import errors
from producer.api.core.logs import log
from schema.database import act_as

HEADER = "X-Request-Id"
_VALID = re.compile(rb"[A-Za-z0-9._:-]{1,64}")
_MAX_PATH = 200
_ABORTED = 499  # the client went before an answer; nginx's number for it
_QUIET = ("/healthz", "/readyz", "/metrics", "/static/")  # asked every few seconds, as are ...
_UPDATES = "/parts"  # ... those of a page that is open


class RequestLog:
    """ASGI middleware: outermost, so that refusals and errors are logged, too."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id, status, begun = request_id_of(scope), _ABORTED, time.perf_counter()

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[HEADER] = request_id
            await send(message)

        with act_as(request_id=request_id):
            try:
                await self._app(scope, receive, answer)
            except Exception as error:
                if status != _ABORTED:  # an answer has begun, so that only its end can tell
                    raise
                await (await errors.handle(Request(scope), error))(scope, receive, answer)
            finally:
                _log(scope, status, (time.perf_counter() - begun) * 1e3)


def request_id_of(scope: Scope) -> str:
    """Return the id that came with the request of ``scope`` if it is short and plain, else a new one."""
    given: bytes = dict(scope["headers"]).get(HEADER.lower().encode(), b"")
    return given.decode() if _VALID.fullmatch(given) else f"req_{secrets.token_hex(8)}"


def _log(scope: Scope, status: int, elapsed_ms: float) -> None:
    path = scope["path"]
    is_quiet = status < 400 and (path.startswith(_QUIET) or path.endswith(_UPDATES))
    caller = scope.get("state", {}).get("caller")
    log(
        logging.DEBUG if is_quiet else logging.INFO,
        f"{scope['method']} {path[:_MAX_PATH]}",
        status=status,
        ms=round(elapsed_ms, 1),
        owner=None if caller is None else caller.name,
        client=None if scope.get("client") is None else scope["client"][0],
    )
