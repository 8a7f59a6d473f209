"""SAPI over HTTP: media types, bodies, errors."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import orjson
from starlette.responses import Response

from worker.emulator.qpu.errors import Rejected

if TYPE_CHECKING:
    from starlette.requests import Request

    from worker.emulator.service.store import AcceptedProblem

# 20 full-chip problems, one POST of the client, are 11 MB. JSON can take 50 times its size in memory.
MAX_BODY = 16 * 1024 * 1024
MAX_URL = 8 * 1024

# Media types that D-Wave documents in this version, too.
_OLDER = {"problem-answer": "2.1.0", "problem-message": "2.1.0"}
_ACCEPTED = re.compile(r"application/vnd\.dwave\.sapi\.([a-z-]+)\+json\s*;\s*version\s*=\s*\"?([\d.]+)")


def media(name: str, version: str = "3.0.0") -> str:
    """Return SAPI's media type ``name`` in ``version``."""
    return f"application/vnd.dwave.sapi.{name}+json; version={version}"


def reply(content: object, kind: str, status: int = 200, *, accept: str = "") -> Response:
    """Return ``content`` as a SAPI answer of media type ``kind`` with HTTP status ``status``.

    ``accept`` is the request's header of that name: two kinds exist in an older version.
    """
    older = _OLDER.get(kind, "")
    is_older = older and any(_fits(asked, older) for name, asked in _ACCEPTED.findall(accept) if name == kind)
    return Response(orjson.dumps(content), status, media_type=media(kind, older if is_older else "3.0.0"))


def check_accept(accept: str) -> None:
    """Raise Rejected when the header ``accept`` asks for versions only that the service no longer has."""
    asked = _ACCEPTED.findall(accept)
    if asked and not any(
        _fits(version, "3.0.0") or _fits(version, _OLDER.get(name, "")) for name, version in asked
    ):
        raise Rejected(f"Accept asks for version {asked[0][1]:.20} of {asked[0][0]:.40}; use version=3")


def _fits(asked: str, version: str) -> bool:
    """Return whether ``version`` is ``asked``, which may be a part of it: 3, 3.0 or 3.0.0."""
    return f"{version}.".startswith(f"{asked.rstrip('.')}.")


def plain(content: object, status: int = 200) -> Response:
    """Return ``content`` with ``status`` as plain JSON: errors, ledger, faults."""
    return Response(orjson.dumps(content), status, media_type="application/json")


def refusal(rejected: Rejected) -> dict[str, Any]:
    """Return SAPI's error object for ``rejected``."""
    return {"error_code": rejected.code, "error_msg": str(rejected)}


def remove(content: Any, path: Sequence[str]) -> None:
    """Remove the field ``path`` from nested objects; do nothing where it is not in ``content``."""
    *parents, name = path
    for parent in parents:
        content = content.get(parent) if isinstance(content, dict) else None
    if isinstance(content, dict):
        content.pop(name, None)


def status(entry: AcceptedProblem, solver: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the status object of a problem (``entry``); ``solver`` replaces its solver's identity."""
    content = {
        "id": entry.id,
        "type": entry.type,
        "solver": solver or {"name": entry.solver, "version": {"graph_id": entry.graph_id}},
        "label": entry.label,
        "status": entry.status.value,
        "submitted_on": entry.submitted_on,
    }
    if entry.solved_on is not None:
        content["solved_on"] = entry.solved_on
    if entry.error is not None:
        content["error_message"] = entry.error
        if entry.charged_us:  # the only way to learn of this charge: a failed problem has no answer
            content["timing"] = {"qpu_access_time": entry.access_us}
    return content


async def body(request: Request) -> bytes:
    """Read the body of ``request`` and inflate it.

    Raises:
        Rejected: with 413 when it is larger than 16 MiB, on the wire or inflated; with 415 for another
            encoding
            than deflate; with 400 when it cannot be inflated.
    """
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > MAX_BODY:
            raise _too_large()
        chunks.append(chunk)
    raw, encoding = b"".join(chunks), request.headers.get("content-encoding", "identity").strip().lower()
    if encoding == "deflate":
        return inflate(raw)
    if encoding != "identity":
        raise Rejected(f"a body may be deflated, not {encoding!r:.80}", 415)
    return raw


def inflate(raw: bytes) -> bytes:
    """Inflate ``raw`` (zlib), never beyond the limit; raise Rejected as `body` does."""
    decompressor = zlib.decompressobj()
    try:
        content = decompressor.decompress(raw, MAX_BODY + 1)
    except zlib.error as error:
        raise Rejected(f"the body cannot be inflated: {error}") from error
    if len(content) > MAX_BODY:
        raise _too_large()
    if not decompressor.eof or decompressor.unused_data:
        raise Rejected("the body cannot be inflated: it is cut off, or something follows it")
    return content


def parse(content: bytes) -> Any:
    """Parse a client's JSON ``content``; raise Rejected where it is invalid. NaN and Infinity are invalid."""
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise Rejected(f"the body is not JSON: {error}") from error


def _too_large() -> Rejected:
    return Rejected(
        f"the body is larger than {MAX_BODY // 1024 // 1024} MiB; send fewer problems at a time", 413
    )
