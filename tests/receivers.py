"""A receiver of webhooks on a port of this machine."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests import PATIENCE_S


@dataclass
class Receiver:
    """What came; ``statuses``: what the next messages are answered with, 200 after that.

    Answers wait until ``ready`` is set, as it is at first.
    """

    port: int = 0
    ready: threading.Event = field(default_factory=threading.Event)
    came: queue.Queue[tuple[dict[str, str], bytes]] = field(default_factory=queue.Queue)
    statuses: list[int] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    def next(self, seconds: float = PATIENCE_S) -> tuple[dict[str, str], bytes]:
        """Headers in lower case, and the body."""
        return self.came.get(timeout=seconds)


@contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()
    receiver.ready.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = receiver.statuses.pop(0) if receiver.statuses else 200
            receiver.came.put(({k.lower(): v for k, v in self.headers.items()}, body))
            receiver.ready.wait(PATIENCE_S)
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as its base calls it
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield receiver
        finally:
            receiver.ready.set()
            server.shutdown()
            thread.join()
