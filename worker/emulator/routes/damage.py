"""Answers changed by faults: replaced, damaged, incomplete, or with a deprecation message."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

import orjson
from starlette.responses import Response

from worker.emulator.routes import wire
from worker.emulator.service.faults import Damage, Fault, FaultKind

_MESSAGES = {FaultKind.EXPIRE: "invalid token; it has expired"}


def replaced(faults: Iterable[Fault]) -> Response | None:
    """Return the answer that replaces the right one under ``faults``, if any; a reset drops it."""
    for fault in faults:
        if fault.kind in {FaultKind.ERROR, FaultKind.RESET, FaultKind.EXPIRE}:
            code = fault.status or 503
            message = _MESSAGES.get(fault.kind, "fault injected by the emulator")
            response = wire.plain({"error_code": code, "error_msg": message}, code)
            if fault.retry_after is not None:
                response.headers["Retry-After"] = f"{fault.retry_after:g}"
            return response
    return None


def changed(response: Response, faults: Iterable[Fault]) -> Response:
    """Return ``response`` as it is sent under ``faults``; errors are not changed."""
    messages = []
    for fault in faults:
        if fault.kind is FaultKind.CORRUPT:
            response = corrupt(response, fault.damage)
        elif fault.kind is FaultKind.HIDE:
            response = hide(response, fault.path)
        elif fault.kind is FaultKind.DEPRECATE:
            messages.append(fault)
    if messages:
        response.headers["X-Deprecation"] = ", ".join(
            _deprecation(number, fault) for number, fault in enumerate(messages, 1)
        )
    return response


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
    if damage is Damage.OMIT:
        content = content[:-1] if isinstance(content, list) else content
    elif isinstance(answer, dict):
        _spoil(answer, damage)
    elif damage is Damage.TYPES:
        content = {"unexpected": content}
    return Response(orjson.dumps(content), media_type=kind)


def hide(response: Response, path: str) -> Response:
    """Remove the field ``path`` from a right ``response``, or from each item of its list."""
    if response.status_code != 200:
        return response
    content = orjson.loads(bytes(response.body))
    for item in content if isinstance(content, list) else [content]:
        wire.remove(item, path.split("."))
    kept = {name: value for name, value in response.headers.items() if name != "content-length"}
    return Response(orjson.dumps(content), headers=kept)


def _spoil(answer: dict[str, object], damage: Damage) -> None:
    if damage is Damage.BASE64:
        answer["energies"] = "*" + str(answer["energies"])[1:]
    elif damage is Damage.TYPES:
        answer["energies"] = 0
    elif damage is Damage.SHORT:
        solutions = str(answer["solutions"])
        answer["solutions"] = solutions[: len(solutions) // 8 * 4]


def _deprecation(number: int, fault: Fault) -> str:
    """Return one item of the header, in the structured form of RFC 9651 that D-Wave documents."""
    text = fault.message or f"this {fault.context} is deprecated"
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    sunset = datetime.fromisoformat(fault.sunset).replace(tzinfo=UTC)
    return f'dep-{number};message="{quoted}";sunset=@{sunset.timestamp():.0f};context="{fault.context}"'
