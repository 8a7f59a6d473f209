"""The process behind `annealq serve`: uvicorn around the application, on an address of this machine."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable

import uvicorn

from producer.api import app
from producer.api.core.service import Service
from producer.api.core.settings import ApiSettings
from producer.api.keys import keys
from producer.api.routes import pages
from producer.context import database
from schema.errors import ParameterError, StackError
from schema.settings import Settings

_GRACE_S = 5
_KEEP_ALIVE_S = 75  # longer than proxies keep a connection, so that none is closed under a request

Tell = Callable[[str], None]


def run(settings: Settings, api: ApiSettings, host: str, port: int, tell: Tell) -> None:
    """Serve until SIGINT or SIGTERM.

    Raises:
        StorageError: the database is not there, or of another revision.
        ParameterError: without a key only this machine's own address may be listened on.
        StackError: the address cannot be listened on.
    """
    with database(settings) as opened, opened.reading() as session:
        has_keys = keys.exist(session, valid=True)
    is_private = _is_loopback(host)
    if not has_keys and not is_private:
        raise ParameterError(
            f"no API key exists, so nobody could be told from anybody on {host}: make one with "
            "`annealq keys add NAME`, or leave out --host"
        )
    with _listen(host, port) as listening:
        service = Service.build(settings, api, is_private=is_private)
        if not has_keys:
            tell(
                "no key is needed, and only programs on this machine are served, until the first "
                "`annealq keys add NAME`"
            )
        Server(service, listening, tell).run(sockets=[listening])


def _config(service: Service) -> uvicorn.Config:
    """How uvicorn serves it."""
    return uvicorn.Config(
        app.build(service, pages.dashboard(service).app()),
        ws="none",
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_GRACE_S,
    )


class Server(uvicorn.Server):
    """Says where it listens once it does, and lets listeners go when it is to stop."""

    def __init__(self, service: Service, listening: socket.socket, tell: Tell) -> None:
        super().__init__(_config(service))
        self._service, self._listening, self._tell = service, listening, tell

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.started:
            return
        host, port = self._listening.getsockname()[:2]
        address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        self._tell(f"annealq serves at {address}; what it takes: {address}/docs; stop with Ctrl-C")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._service.watch.close()
        await super().shutdown(sockets)


def _listen(host: str, port: int) -> socket.socket:
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


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
