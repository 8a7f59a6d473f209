"""The checks of every request: token, limits, faults, errors."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from schema.errors import AnnealqError, NotFound
from worker.emulator.qpu.errors import Rejected
from worker.emulator.routes import damage, wire
from worker.emulator.service.faults import Fault, FaultKind, Target, View

if TYPE_CHECKING:
    from worker.emulator.service.machine import Machine

Handler = Callable[[Request, str, bytes], Awaitable[Response]]
Classify = Callable[[Request], Target]


class OpenConnections:
    """Open connections by the client's address, so that faults can reset them."""

    def __init__(self) -> None:
        self._transports: dict[object, asyncio.Transport] = {}

    def add(self, transport: asyncio.Transport) -> None:
        self._transports[transport.get_extra_info("peername")] = transport

    def discard(self, transport: asyncio.Transport) -> None:
        self._transports.pop(transport.get_extra_info("peername"), None)

    async def reset(self, client: object) -> None:
        """Reset the connection of ``client`` with RST, as a crashed or overloaded gateway does."""
        transport = self._transports.get(client)
        if transport is None:
            return
        linger = struct.pack("ii", 1, 0)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        transport.abort()
        # The server notices in the loop's next round; it drops what is answered after that.
        await asyncio.sleep(0.01)


class Gate:
    """Wraps handlers into endpoints."""

    def __init__(self, machine: Machine, connections: OpenConnections) -> None:
        self._machine, self._connections = machine, connections

    def sapi(self, handler: Handler, classify: Classify) -> Callable[[Request], Awaitable[Response]]:
        """Wrap ``handler(request, member, body)`` into an endpoint of SAPI.

        ``classify`` names the kind of a request, which decides the faults that it suffers.
        """

        async def endpoint(request: Request) -> Response:
            try:
                member = self._member(request)
                _check_url(request)
                content = await wire.body(request)
                target = classify(request)
                faults = await self._suffer(target, "before", request, member)
                if (instead := damage.replaced(faults)) is not None:
                    return instead
                wire.check_accept(request.headers.get("accept", ""))
                request.state.view = View.under(faults)
                response = damage.changed(await handler(request, member, content), faults)
                late = await self._suffer(target, "after", request, member)
                response = damage.replaced(late) or damage.changed(response, late)
            except Rejected as rejected:
                return wire.plain(wire.refusal(rejected), rejected.code)
            except ClientDisconnect:
                return Response()  # it died while it was sending: nobody hears an answer
            return response

        return endpoint

    def control(
        self, handler: Callable[[Request, bytes], Awaitable[Response]]
    ) -> Callable[..., Awaitable[Response]]:
        """Wrap ``handler`` into an endpoint outside of SAPI, open to this machine, or to the token that was
        set.
        """

        async def endpoint(request: Request) -> Response:
            try:
                if not self._may_control(request):
                    raise Rejected("only from this machine, or with the token", 403)
                return await handler(request, await wire.body(request))
            except Rejected as rejected:
                return wire.plain(wire.refusal(rejected), rejected.code)
            except AnnealqError as error:
                code = 404 if isinstance(error, NotFound) else 400
                return wire.plain({"error_code": code, "error_msg": str(error)}, code)

        return endpoint

    def _member(self, request: Request) -> str:
        token = request.headers.get("x-auth-token", "")
        if not token or not self._fits(token):
            raise Rejected("invalid token; send it in the header X-Auth-Token", 401)
        return self._machine.member(token)

    def _fits(self, token: str) -> bool:
        wanted = self._machine.options.token
        return wanted is None or hmac.compare_digest(token.encode(), wanted.encode())

    def _may_control(self, request: Request) -> bool:
        # A web page that this machine's user visits can send plain posts here, but not JSON unasked.
        if request.method != "GET" and not request.headers.get("content-type", "").startswith(
            "application/json"
        ):
            raise Rejected("send JSON, with Content-Type: application/json", 415)
        if self._machine.options.token is not None and self._fits(request.headers.get("x-auth-token", "")):
            return True
        return request.client is not None and ipaddress.ip_address(request.client.host).is_loopback

    async def _suffer(self, target: Target, when: str, request: Request, member: str) -> list[Fault]:
        """Return the faults of ``request`` at this moment; those that need no answer are carried out here."""
        faults = self._machine.faults.pick(target, when)
        for fault in faults:
            if fault.kind is FaultKind.DELAY:
                await self._machine.faults.delay(fault.delay_s)
            elif fault.kind is FaultKind.RESET:
                await self._connections.reset(tuple(request.client or ()))
            elif fault.kind in {FaultKind.LOSE, FaultKind.GONE}:
                self._lose(fault, request, member)
        return faults

    def _lose(self, fault: Fault, request: Request, member: str) -> None:
        """Lose the answer of the problem that ``request`` names, or one of its problems."""
        ids = request.query_params.get("id", request.path_params.get("id", "")).split(",")
        for entry in self._machine.entries([self._machine.faults.choose(ids)], member):
            if fault.kind is FaultKind.LOSE:
                self._machine.store.drop_answer(entry)
            else:
                self._machine.store.forget(entry, fault.status or 410)


def _check_url(request: Request) -> None:
    size = len(request.scope["raw_path"]) + len(request.scope["query_string"])
    if size > wire.MAX_URL:
        raise Rejected(f"the URL has {size:,} bytes, the limit is {wire.MAX_URL:,}", 414)
