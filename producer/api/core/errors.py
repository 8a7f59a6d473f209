"""Every error has one shape: {error, message, way_out}. No traceback is ever sent."""

from __future__ import annotations

import logging
import math
import re
import secrets
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from schema.errors import (
    AnnealqError,
    BrokerUnavailable,
    Corrupt,
    IdempotencyConflict,
    ImageError,
    InputError,
    NetworkError,
    NotFound,
    ParameterError,
    RequestRefused,
    StaleState,
    StorageError,
)

_AGAIN_S = 5
_LOG = logging.getLogger("annealq.api")
_WORDS = {
    400: "bad_request",
    401: "no_valid_key",
    403: "not_allowed",
    404: "not_found",
    405: "wrong_method",
    406: "not_acceptable",
    409: "conflict",
    413: "too_large",
    415: "unknown_format",
    422: "unusable",
    429: "limit_reached",
}
# The command line's way out of these is no help over HTTP.
_COMMAND = re.compile(r": (run )?`annealq .*", re.DOTALL)

_STATUS: Sequence[tuple[type[AnnealqError], int, str, str]] = (
    (ImageError, 422, "unusable_images", "correct the images, then send them again"),
    (NetworkError, 422, "unusable_network", "GET /v1/networks lists what there is"),
    (IdempotencyConflict, 409, "idempotency_conflict", "send exactly the same, or choose another key"),
    (ParameterError, 422, "unusable_parameter", "GET /openapi.json lists all fields and their limits"),
    (InputError, 422, "unusable", "GET /openapi.json says what is expected"),
    (NotFound, 404, "not_found", "GET /v1/runs, /v1/networks and /v1/embeddings list what there is"),
    (StaleState, 409, "conflict", "look at the run's state, then try again"),
    (Corrupt, 500, "damaged", "tell the operator: what is stored does not agree with its checksum"),
    (StorageError, 503, "database_away", "try again in a moment; GET /readyz says what is wrong"),
    (BrokerUnavailable, 503, "broker_away", "try again in a moment; GET /readyz says what is wrong"),
)


def install(app: FastAPI) -> None:
    """Let an application answer every error in this shape."""
    app.add_exception_handler(AnnealqError, _known)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unknown)


def shape(code: str, message: str, way_out: str) -> dict[str, str]:
    return {"error": code, "message": message, "way_out": way_out}


def respond(error: AnnealqError) -> JSONResponse:
    """The answer to a request that ended in this error."""
    if isinstance(error, RequestRefused):
        return _answer(error.status, _word(error.status), str(error), error.way_out, error.retry_after_s)
    for kind, status, code, way_out in _STATUS:
        if isinstance(error, kind):
            return _answer(
                status, code, _message(error, status), way_out, _AGAIN_S if status == 503 else None
            )
    return _answer(500, "failed", str(error), "tell the operator")


def _message(error: AnnealqError, status: int) -> str:
    """For who asked by HTTP: where the database or the broker is, is the operator's business."""
    if status != 503:
        return _COMMAND.sub("", str(error))
    _LOG.warning("%s: %s", type(error).__name__, error)
    return (
        "the broker does not answer"
        if isinstance(error, BrokerUnavailable)
        else "the database cannot be used"
    )


def describe(problems: Sequence[Any]) -> str:
    """One line for each wrong field: where it is, and what is wrong."""
    lines = []
    for problem in problems:
        # Where a field may be of several types, pydantic also names the type that was tried: type[...].
        parts = [str(part) for part in problem["loc"] if part not in ("body", "query", "path")]
        where = ".".join(part for part in parts if "[" not in part)
        lines.append(f"{where or 'the request'}: {problem['msg']}")
    return printable("; ".join(lines))


def printable(text: str) -> str:
    """The text without what a terminal or JSON could not carry, of a length that can be read."""
    clean = "".join(letter if letter.isprintable() else "?" for letter in text)
    return clean if len(clean) <= 2_000 else clean[:2_000] + " ..."


async def _known(_request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, AnnealqError):
        raise error
    return respond(error)


async def _invalid(_request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, RequestValidationError):
        raise error
    return respond(ParameterError(describe(error.errors())))


async def _http(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):
        raise error
    where = printable(f"{request.method} {request.url.path}")[:200]
    way_out = "GET /openapi.json lists what there is"
    answer = _answer(error.status_code, _word(error.status_code), f"{where}: {error.detail}", way_out)
    answer.headers.update(error.headers or {})
    return answer


async def _unknown(request: Request, error: Exception) -> JSONResponse:
    number = secrets.token_hex(4)
    _LOG.error("request %s failed: %s %s", number, request.method, request.url.path, exc_info=error)
    message = f"the server failed; its log says why, under {number}"
    return _answer(500, "failed", message, "try again, and tell the operator that number")


def _word(status: int) -> str:
    return _WORDS.get(status, "failed" if status >= 500 else "bad_request")


def _answer(
    status: int, code: str, message: str, way_out: str, retry_after_s: float | None = None
) -> JSONResponse:
    headers = {} if retry_after_s is None else {"Retry-After": str(math.ceil(retry_after_s))}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if status == 413:
        headers["Connection"] = "close"  # or its sender would go on sending
    return JSONResponse(shape(code, printable(message), way_out), status, headers)
