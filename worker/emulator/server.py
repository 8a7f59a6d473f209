"""The process: a socket, the endpoints, an orderly shutdown."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import FrameType
from typing import TYPE_CHECKING

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from schema.errors import StackError
from worker.emulator.qpu.errors import Rejected
from worker.emulator.routes import problems, solvers, wire
from worker.emulator.routes.control import Control
from worker.emulator.routes.gate import Gate, OpenConnections
from worker.emulator.service.machine import Machine

if TYPE_CHECKING:
    from worker.emulator.service.options import EmulatorOptions

ROOT = "/sapi/v2"
_GRACE_S = 1
# Longer than clients hold idle connections: a server that closes first makes their next POST ambiguous.
_KEEP_ALIVE_S = 300


def serve(options: EmulatorOptions) -> None:
    """Serve with ``options`` until SIGTERM or Ctrl-C; print one line of JSON to standard output when ready.

    Raises:
        StackError: the address cannot be listened on.
        StorageError: the state file cannot be used.
        ParameterError: the solvers cannot be made.
    """
    listening = listen(options.host, options.port)
    try:
        machine = Machine(options)
        connections = OpenConnections()
        server = _Server(machine, listening, _config(application(machine, connections), connections))
        # uvicorn has its own handlers while it serves. After an orderly exit it
        # raises the signal that stopped it again: then this does nothing.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, server.stop_early)
        server.run(sockets=[listening])
    finally:
        listening.close()


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens on ``host`` and ``port``; raise StackError where that is impossible."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
    except OSError as error:
        raise StackError(
            f"cannot listen on {host}: {error.strerror}; name an address of this machine"
        ) from error
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(1024)
    except OSError as error:
        listening.close()
        message = (
            f"cannot listen on {host}:{port}: {error.strerror}; choose another --port, or 0 for a free one"
        )
        raise StackError(message) from error
    return listening


def application(machine: Machine, connections: OpenConnections) -> Starlette:
    """Return the application of ``machine`` with its endpoints, SAPI's with and without a trailing slash.

    ``connections`` are those that faults may reset.
    """
    gate, control = Gate(machine, connections), Control(machine)
    ask, look = problems.Problems(machine), solvers.SolverRoutes(machine)
    sapi = [
        ("/solvers/remote", "GET", look.all, solvers.target),
        ("/solvers/remote/{name}", "GET", look.one, solvers.target),
        ("/problems", "POST", ask.submit, problems.target),
        ("/problems", "GET", ask.ask, problems.target),
        ("/problems", "DELETE", ask.cancel, problems.target),
        ("/problems/{id}", "GET", ask.one, problems.target),
        ("/problems/{id}", "DELETE", ask.cancel_one, problems.target),
        ("/problems/{id}/answer", "GET", ask.answer, problems.target),
        ("/problems/{id}/info", "GET", ask.info, problems.target),
        ("/problems/{id}/messages", "GET", ask.messages, problems.target),
    ]
    routes = [
        Route(ROOT + path + slash, gate.sapi(handler, target), methods=[method])
        for path, method, handler, target in sapi
        for slash in ("", "/")
    ]
    routes += [
        Route("/ledger", gate.control(control.ledger), methods=["GET"]),
        Route("/faults", gate.control(control.show), methods=["GET"]),
        Route("/faults", gate.control(control.change), methods=["POST"]),
    ]

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        machine.start()
        yield
        await machine.stop()

    handlers = {404: _unknown, 405: _unknown, 500: _broken}
    app = Starlette(routes=routes, lifespan=lifespan, exception_handlers=handlers)
    app.router.redirect_slashes = False
    return app


class _Server(uvicorn.Server):
    """A server that prints a line when it is ready, and releases waiting requests when it stops."""

    def __init__(self, machine: Machine, listening: socket.socket, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._machine, self._listening = machine, listening

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            address = _address(self._listening)
            ready = {
                "endpoint": f"{address}{ROOT}/",
                "ledger": f"{address}/ledger",
                "faults": f"{address}/faults",
                "solvers": list(self._machine.solvers),
            }
            sys.stdout.write(orjson.dumps(ready).decode() + "\n")
            sys.stdout.flush()

    def stop_early(self, _number: int, _frame: FrameType | None) -> None:
        """Stop on a signal that arrives before the event loop runs."""
        self.should_exit = True

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        asyncio.get_running_loop().call_soon_threadsafe(self._machine.bell.close)


def _config(app: Starlette, connections: OpenConnections) -> uvicorn.Config:
    class Protocol(H11Protocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as in uvicorn
            connections.add(transport)
            super().connection_made(transport)

        def connection_lost(self, exc: Exception | None) -> None:
            connections.discard(self.transport)
            super().connection_lost(exc)

    return uvicorn.Config(
        app,
        http=Protocol,
        ws="none",
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_GRACE_S,
    )


def _address(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def _unknown(request: Request, error: Exception) -> Response:
    code = getattr(error, "status_code", 404)
    rejected = Rejected(
        f"{request.method} {request.url.path!r:.200} is not here; SAPI is under {ROOT}/", code
    )
    return wire.plain(wire.refusal(rejected), code)


async def _broken(_request: Request, _error: Exception) -> Response:
    return wire.plain({"error_code": 500, "error_msg": "the emulator failed; its log says why"}, 500)
