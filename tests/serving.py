"""The real API on a port of this machine, in a thread of the test's process."""

from __future__ import annotations

import multiprocessing
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from producer.api.app import build
from producer.api.core.service import Service
from producer.api.keys.authentication import LocalAccess
from producer.api.load.connections import ConnectionLimits
from producer.api.server import Server, listen
from schema.settings import ApiSettings, load, load_api
from tests import PATIENCE_S, described

_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # loading certificates takes 30 ms a client
_MANY = ConnectionLimits(1_000, 1_000)
THIS_MACHINE = "aqt_" + "t" * 43  # this machine's token


@contextmanager
def serving(
    database_url: str,
    api: ApiSettings | None = None,
    *,
    local: LocalAccess | None = None,
    limits: ConnectionLimits | None = None,
) -> Iterator[str]:
    """Serve until the block ends; yields the address, once it answers."""
    access = local or LocalAccess(THIS_MACHINE)
    service = Service.build(load(database_url=database_url), api or load_api(), access)
    with socket.socket(proto=socket.IPPROTO_TCP) as listening:
        listening.bind(("127.0.0.1", 0))
        server = Server(
            build(service), listening, lambda _line: None, service.progress_feed.close, limits or _MANY
        )
        thread = threading.Thread(target=server.run, args=([listening],))
        listening.listen(1024)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(PATIENCE_S)
    assert not thread.is_alive()


def serve_forever(database_url: str, port: int) -> None:
    """Serve on ``port`` of this machine: the whole life of a process that a test starts and kills."""
    service = Service.build(load(database_url=database_url), load_api(), LocalAccess(THIS_MACHINE))
    with listen("127.0.0.1", port) as listening:
        close = service.progress_feed.close
        Server(build(service), listening, lambda _line: None, close, _MANY).run([listening])


class ServerProcess:
    """The API in a process of its own, which a test kills; it starts again on the same port."""

    def __init__(self, database_url: str) -> None:
        # A server that has its imports already, so that each start takes a fraction of a second.
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["tests.serving"])
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        self._database_url = database_url
        self.address = f"http://127.0.0.1:{self._port}"
        self.kills = 0
        self._start()

    def restart(self, after_s: float) -> None:
        """Kill the process after some seconds, as `kill -9` does, and start another one."""
        time.sleep(after_s)
        self._process.kill()
        self._process.join()
        self.kills += 1
        self._start()

    def stop(self) -> None:
        self._process.kill()
        self._process.join()

    def _start(self) -> None:
        arguments = (self._database_url, self._port)
        self._process = self._context.Process(target=serve_forever, args=arguments, daemon=True)
        self._process.start()


@contextmanager
def client(address: str, key: str | None = THIS_MACHINE) -> Iterator[httpx.Client]:
    """A plain HTTP client, with a key where one is given. Each answer must be one that is described."""
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    hooks = {"response": [described.check]}
    with httpx.Client(
        base_url=address,
        headers=headers,
        timeout=PATIENCE_S,
        trust_env=False,
        event_hooks=hooks,
        verify=_NO_TLS,
    ) as opened:
        yield opened
