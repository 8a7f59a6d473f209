"""The checks of every request: token, limits, faults, errors."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from schema.errors import AnnealqError, NotFound
from worker.emulator.qpu.errors import Rejected
from worker.emulator.routes import wire
from worker.emulator.service.faults import Damage, Fault, FaultKind, Target

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
                fault = await self._fault(target, "before", request, member)
                if fault is not None and fault.kind in {FaultKind.ERROR, FaultKind.RESET}:
                    return _instead(fault)
                response = await handler(request, member, content)
                if fault is not None and fault.kind is FaultKind.CORRUPT:
                    response = corrupt(response, fault.damage)
                late = await self._fault(target, "after", request, member)
                if late is not None:
                    response = (
                        corrupt(response, late.damage) if late.kind is FaultKind.CORRUPT else _instead(late)
                    )
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

    async def _fault(self, target: Target, when: str, request: Request, member: str) -> Fault | None:
        """Return the fault that replaces the answer of this request, if any; delays, resets and losses are
        carried out here.
        """
        decisive = None
        for fault in self._machine.faults.pick(target, when):
            if fault.kind is FaultKind.DELAY:
                await asyncio.sleep(fault.delay_s)
            else:
                decisive = fault
        if decisive is not None and decisive.kind is FaultKind.RESET:
            await self._connections.reset(tuple(request.client or ()))
        if decisive is not None and decisive.kind is FaultKind.LOSE:
            for entry in self._machine.entries([request.path_params["id"]], member):
                self._machine.store.drop_answer(entry)
        return decisive


def corrupt(response: Response, damage: Damage) -> Response:
    """Damage a right ``response`` in the way of ``damage``; errors stay as they are."""
    if response.status_code != 200:
        return response
    body, kind = bytes(response.body), response.headers["content-type"]
    if damage is Damage.MEDIA:
        return Response(body, media_type="text/html")
    if damage is Damage.JSON:
        return Response(body[: len(body) // 2], media_type=kind)
    content = orjson.loads(body)
    answer = content.get("answer") if isinstance(content, dict) else None
    if isinstance(answer, dict):
        _spoil(answer, damage)
    elif damage is Damage.TYPES:
        content = {"unexpected": content}
    return Response(orjson.dumps(content), media_type=kind)


def _spoil(answer: dict[str, object], damage: Damage) -> None:
    if damage is Damage.BASE64:
        answer["energies"] = "*" + str(answer["energies"])[1:]
    elif damage is Damage.TYPES:
        answer["energies"] = 0
    elif damage is Damage.SHORT:
        solutions = str(answer["solutions"])
        answer["solutions"] = solutions[: len(solutions) // 8 * 4]


def _instead(fault: Fault) -> Response:
    """Return the answer that replaces the right one; after a reset nobody receives it."""
    response = wire.plain(
        {"error_code": fault.status, "error_msg": "fault injected by the emulator"}, fault.status
    )
    if fault.retry_after is not None:
        response.headers["Retry-After"] = f"{fault.retry_after:g}"
    return response


def _check_url(request: Request) -> None:
    size = len(request.scope["raw_path"]) + len(request.scope["query_string"])
    if size > wire.MAX_URL:
        raise Rejected(f"the URL has {size:,} bytes, the limit is {wire.MAX_URL:,}", 414)
