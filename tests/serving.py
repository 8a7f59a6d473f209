"""The real API on a port of this machine, in a thread of the test's process."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from producer.api.app import build
from producer.api.core.service import Service
from producer.api.core.settings import ApiSettings
from producer.api.core.settings import load as load_api
from producer.api.server import Server
from schema.settings import load
from tests import described


@contextmanager
def serving(database_url: str, api: ApiSettings | None = None, *, is_private: bool = True) -> Iterator[str]:
    """Serve until the block ends; yields the address, once it answers."""
    service = Service.build(load(database_url=database_url), api or load_api(), is_private=is_private)
    with socket.socket(proto=socket.IPPROTO_TCP) as listening:
        listening.bind(("127.0.0.1", 0))
        server = Server(build(service), listening, lambda _line: None, service.progress_feed.close)
        thread = threading.Thread(target=server.run, args=([listening],))
        listening.listen(1024)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(20)
    assert not thread.is_alive()


@contextmanager
def client(address: str, key: str | None = None) -> Iterator[httpx.Client]:
    """A plain HTTP client, with a key where one is given. Each answer must be one that is described."""
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    hooks = {"response": [described.check]}
    with httpx.Client(
        base_url=address, headers=headers, timeout=30, trust_env=False, event_hooks=hooks
    ) as opened:
        yield opened
