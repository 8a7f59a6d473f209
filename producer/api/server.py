"""uvicorn around an application, on a socket of this machine."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable
from contextlib import suppress
from math import ceil

import uvicorn
from starlette.types import ASGIApp

from producer.api.load.connections import (
    ConnectionLimits,
    Connections,
    QuietErrors,
    protocol,
    within_descriptors,
)
from schema.errors import StackError

_GRACE_S = 5
_ACCEPTED_AT_ONCE = 64  # connections; then it is the turn of those that are open
_ARRIVING = 2_048  # connections that the system holds until they are accepted


class Server(uvicorn.Server):
    """Serves ``app`` on the bound socket ``listening``.

    Calls ``report`` with its address when it accepts connections, and ``on_shutdown`` before it waits for
    open ones. ``limits`` are those of connections, lowered if the process may not open as many files.
    """

    def __init__(
        self,
        app: ASGIApp,
        listening: socket.socket,
        report: Callable[[str], None],
        on_shutdown: Callable[[], None],
        limits: ConnectionLimits,
    ) -> None:
        self._connections = Connections(within_descriptors(limits))
        super().__init__(
            uvicorn.Config(
                app,
                http=protocol(self._connections),
                ws="none",
                log_config=None,  # `producer.api.core.logs`
                access_log=False,
                server_header=False,
                backlog=_ACCEPTED_AT_ONCE,
                timeout_keep_alive=ceil(limits.idle_s),
                timeout_graceful_shutdown=_GRACE_S,
            )
        )
        self._listening, self._report, self._on_shutdown = listening, report, on_shutdown

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.started:
            return
        self._listening.listen(_ARRIVING)  # asyncio has one number for both
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(QuietErrors())
        self._sweeping = loop.create_task(self._connections.sweep())
        host, port = self._listening.getsockname()[:2]
        address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        self._report(address)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._on_shutdown()
        self._sweeping.cancel()
        with suppress(asyncio.CancelledError):
            await self._sweeping
        await super().shutdown(sockets)


def listen(host: str, port: int) -> socket.socket:
    """Return a TCP socket that is bound to ``host`` and ``port``; raise StackError if they cannot be used."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        # Named as TCP, or asyncio would leave Nagle's algorithm on: 40 ms for every answer.
        listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except OSError as error:
        reason = error.strerror or error
        raise StackError(f"cannot listen on {host}, port {port} ({reason}): choose another --port") from None
    return listening


def is_loopback(host: str) -> bool:
    """Return whether ``host`` is an address that only this machine can reach."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
