"""A proxy that does to a client what networks and restarts do: the same each time."""

from __future__ import annotations

import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tests import PATIENCE_S

RESET = "reset"  # before the server sees the request
SWALLOW = "swallow"  # after the server has carried it out, before its answer arrives
CUT = "cut"  # after the beginning of the answer


@dataclass
class Proxy:
    """``plan``: what happens to the next requests, in order; later ones are passed on.

    A step is one of the constants; the whole answer that the client gets instead of the server's; or a
    function to call when the request was passed on, before the connection breaks. No step is used up while
    the server does not listen.
    ``seen``: first lines of all requests.
    ``held``: requests with a body reach the server once it is set, whether their client still waits or not.
    """

    address: str = ""
    plan: list[str | bytes | Callable[[], None]] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    held: threading.Event | None = None


def answer(status: int, body: str = "{}", **headers: object) -> bytes:
    """Return an HTTP response; underscores in names of ``headers`` stand for hyphens."""
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    head = [f"HTTP/1.1 {status} x", "Connection: close", f"Content-Length: {len(body)}", *lines]
    return "\r\n".join([*head, "", body]).encode()


@contextmanager
def proxying(server: str) -> Iterator[Proxy]:
    """Pass requests on to ``server``, but as the plan says."""
    proxy, target = Proxy(), urlsplit(server)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        proxy.address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        threads: list[threading.Thread] = []

        def accept() -> None:
            with suppress(OSError):
                while True:
                    client, _ = listening.accept()
                    handling = threading.Thread(
                        target=_handle, args=(proxy, client, target.netloc), daemon=True
                    )
                    handling.start()
                    threads.append(handling)

        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        try:
            yield proxy
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            accepting.join(PATIENCE_S)
            for thread in threads:
                thread.join(PATIENCE_S)


def _handle(proxy: Proxy, client: socket.socket, server: str) -> None:
    """Serve one connection with one request."""
    host, _, port = server.partition(":")
    with (
        client,
        suppress(OSError),
        socket.create_connection((host, int(port)), timeout=PATIENCE_S) as upstream,
    ):
        request = _receive_request(client)
        if not request:
            return
        proxy.seen.append(request.partition(b"\r\n")[0].decode())
        step = proxy.plan.pop(0) if proxy.plan else ""
        if isinstance(step, bytes):
            client.sendall(step)
            return
        if proxy.held is not None and request.startswith(b"POST"):
            proxy.held.wait(PATIENCE_S)
        if step != RESET:
            upstream.sendall(request)
        if callable(step):
            step()
        if callable(step) or step == RESET:
            _reset(client)
            return
        while chunk := upstream.recv(65_536):
            if step == SWALLOW:
                _reset(client)
                return
            if step == CUT:
                client.sendall(chunk[: len(chunk) // 2])
                return
            client.sendall(chunk)


def _receive_request(client: socket.socket) -> bytes:
    """Return a whole request, which asks for the connection to end after it."""
    data = b""
    while b"\r\n\r\n" not in data:
        if not (chunk := client.recv(65_536)):
            return b""
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", head)
    while length is not None and len(body) < int(length[1]) and (chunk := client.recv(65_536)):
        body += chunk
    head = re.sub(rb"(?i)\r\nconnection: [^\r]*", b"", head) + b"\r\nConnection: close"
    return head + b"\r\n\r\n" + body


def _reset(client: socket.socket) -> None:
    """Close the connection in the way that tells the other side that it broke."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
