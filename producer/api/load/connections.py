"""Connections: how many there may be, and how long they may wait, so that idle or slow ones stop nobody.

A connection waits while it is idle or while the head of a request arrives. At the limit, the one that has
waited longest makes room for a new one; if none waits, the new one is refused.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import resource
import socket
import struct
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_SWEEPS = 10  # in the shortest time limit
_MAX_HEAD = 65_536  # bytes
_SPARE = 200  # descriptors for the database, the broker, files and webhooks
_QUIET_S = 60.0
_AT_ONCE = struct.pack("ii", 1, 0)  # SO_LINGER: on, for 0 seconds
_OUT_OF = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
_LOG = logging.getLogger("annealq.api")


class _Phase(Enum):
    IDLE = auto()
    HEAD = auto()
    REQUEST = auto()
    CLOSING = auto()


_WAITING = frozenset((_Phase.IDLE, _Phase.HEAD))


@dataclass(frozen=True)
class ConnectionLimits:
    """The most connections of a process and of one address, and how many seconds they may wait.

    Attributes:
        head_s: for the head of a request, from its first byte or from the start of the connection.
        idle_s: between requests; longer than proxies reuse a connection, so that none is closed under a
            request.
        stalled_s: that a client may not read while it is answered.
        linger_s: that a refused body is received, and discarded, so that the client reads the refusal.
    """

    total: int
    per_address: int
    head_s: float = 10.0
    idle_s: float = 75.0
    stalled_s: float = 60.0
    linger_s: float = 2.0


class Connections:
    """The open connections of one server, closed when they wait too long. Use it in one event loop."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self.limits = limits
        self._open: dict[LimitedProtocol, None] = {}
        self._by_address: Counter[str] = Counter()
        # Those that wait, in the order in which they began to: by address, and of all addresses at None. A
        # search through all connections at each new one would stop everything else while many arrive.
        self._waiting: defaultdict[str | None, dict[LimitedProtocol, None]] = defaultdict(dict)

    def add(self, connection: LimitedProtocol) -> bool:
        """Add ``connection``, if there is room or another one makes room; return whether it may stay."""
        address = connection.address
        if self._by_address[address] >= self.limits.per_address and not self._make_room(address):
            return False
        if len(self._open) >= self.limits.total and not self._make_room(None):
            return False
        self._open[connection] = None
        self._by_address[address] += 1
        self.order(connection)
        return True

    def order(self, connection: LimitedProtocol) -> None:
        """Note that ``connection``, which was added, has entered another phase just now."""
        if connection not in self._open:
            return
        self._stop_waiting(connection)
        if connection.phase in _WAITING:
            self._waiting[None][connection] = self._waiting[connection.address][connection] = None

    def remove(self, connection: LimitedProtocol) -> None:
        """Forget ``connection``, which may have been refused."""
        if self._open.pop(connection, 0) is None:
            self._stop_waiting(connection)
            self._by_address[connection.address] -= 1
            if not self._by_address[connection.address]:
                del self._by_address[connection.address]

    def _make_room(self, address: str | None) -> bool:
        oldest = next(iter(self._waiting.get(address, ())), None)
        if oldest is None:
            return False
        self.remove(oldest)
        oldest.end()
        return True

    def _stop_waiting(self, connection: LimitedProtocol) -> None:
        for key in (None, connection.address):
            waiting = self._waiting[key]
            waiting.pop(connection, None)
            if not waiting:
                del self._waiting[key]

    async def sweep(self) -> None:
        """Close connections that wait too long, until cancelled."""
        limits = self.limits
        pause_s = min(limits.head_s, limits.idle_s, limits.stalled_s, limits.linger_s) / _SWEEPS
        while True:
            await asyncio.sleep(pause_s)
            now = time.monotonic()
            for connection in list(self._open):
                connection.check(now)


class LimitedProtocol(HttpToolsProtocol):
    """uvicorn's protocol, with limits of `registry`."""

    registry: Connections

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.address = self.client[0] if self.client else ""
        self.phase, self.since = _Phase.HEAD, time.monotonic()
        self._stalled_at: float | None = None
        self._head_bytes = 0
        self._is_message_open = False
        if not self.registry.add(self):
            self.end(b"503 Service Unavailable", b"Retry-After: 5\r\n")

    def connection_lost(self, exc: Exception | None) -> None:
        self.registry.remove(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.phase is _Phase.CLOSING:
            return
        if self.phase is _Phase.IDLE:
            self._enter(_Phase.HEAD)
        is_head = self.phase is _Phase.HEAD and not self._is_message_open
        super().data_received(data)
        if is_head and self.phase is _Phase.HEAD:
            self._head_bytes += len(data)
            if self._head_bytes > _MAX_HEAD:
                self.end(b"431 Request Header Fields Too Large")

    def on_headers_complete(self) -> None:
        self._enter(_Phase.REQUEST)
        self._head_bytes, self._is_message_open = 0, True
        super().on_headers_complete()
        self.cycle.transport = _Lingering(self)  # type: ignore[assignment] # all that a cycle uses of it

    def on_message_complete(self) -> None:
        self._is_message_open = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.phase is _Phase.REQUEST and self.cycle.response_complete:
            self._enter(_Phase.IDLE)

    def pause_writing(self) -> None:
        self._stalled_at = time.monotonic()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._stalled_at = None
        super().resume_writing()

    def _enter(self, phase: _Phase) -> None:
        self.phase, self.since = phase, time.monotonic()
        self.registry.order(self)

    def check(self, now: float) -> None:
        """Close the connection if it has waited too long at ``now``."""
        limits, waited_s = self.registry.limits, now - self.since
        if self._stalled_at is not None and now - self._stalled_at > limits.stalled_s:
            # Without waiting for what the client does not read, which the system would keep.
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
            self.transport.abort()
        elif self.phase is _Phase.HEAD and waited_s > limits.head_s:
            self.end(b"408 Request Timeout")
        elif self.phase is _Phase.IDLE and waited_s > limits.idle_s:
            self.end()
        elif self.phase is _Phase.CLOSING and waited_s > limits.linger_s:
            self.transport.abort()

    def end(self, status: bytes | None = None, headers: bytes = b"") -> None:
        """Close the connection, after an answer of ``status`` without a body."""
        if status is not None and not self.transport.is_closing():
            head = b"HTTP/1.1 " + status + b"\r\n" + headers
            self.transport.write(head + b"Connection: close\r\nContent-Length: 0\r\n\r\n")
        self._enter(_Phase.CLOSING)
        self.transport.close()

    def linger(self) -> None:
        """Close the connection after an answer; while a body arrives, discard it for a short time.

        If the socket was closed with bytes that nobody has read, the client would not read the answer.
        """
        if not self._is_message_open or self.transport.is_closing() or not self.transport.can_write_eof():
            self.transport.close()
            return
        self._enter(_Phase.CLOSING)
        self.transport.write_eof()


class _Lingering:
    """The transport of a connection as its request sees it: closing it lingers."""

    def __init__(self, protocol: LimitedProtocol) -> None:
        self._protocol = protocol

    def write(self, data: bytes) -> None:
        self._protocol.transport.write(data)

    def is_closing(self) -> bool:
        return self._protocol.transport.is_closing()

    def close(self) -> None:
        self._protocol.linger()


def protocol(registry: Connections) -> type[LimitedProtocol]:
    """Return a class of protocols that share ``registry``, for uvicorn, which makes one for a connection."""
    return type("Protocol", (LimitedProtocol,), {"registry": registry})


def within_descriptors(limits: ConnectionLimits) -> ConnectionLimits:
    """Return ``limits`` as this process can serve them, after raising its limit of open files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = limits.total + _SPARE
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        limits = replace(limits, total=max(min(limits.total, soft - _SPARE), 1))
    return limits


class QuietErrors:
    """An event loop's handler of errors: where descriptors run out, one line a minute."""

    def __init__(self) -> None:
        self._told_at = float("-inf")

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not isinstance(error, OSError) or error.errno not in _OUT_OF:
            loop.default_exception_handler(context)
        elif time.monotonic() - self._told_at > _QUIET_S:
            self._told_at = time.monotonic()
            _LOG.error(
                "no connection can be accepted (%s): new ones wait; raise the limit of open files with "
                "`ulimit -n`, or set ANNEALQ_API_CONNECTIONS",
                error.strerror,
            )
