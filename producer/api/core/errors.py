"""Answers every error with problem details: a status, a code and a hint for each kind of error."""

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

from producer.api.core.problems import FieldError, ProblemResponse
from schema.database import acting
from schema.errors import (
    AnnealqError,
    BrokerUnavailable,
    Corrupt,
    DiskFull,
    IdempotencyConflict,
    ImageError,
    InputError,
    NetworkError,
    NotFound,
    ParameterError,
    RequestRefused,
    StaleState,
    StorageError,
    validation_text,
)

_RETRY_AFTER_S = 5
_MAX_TEXT = 2_000
_CLOSING = (408, 413)
_LOG = logging.getLogger("annealq.api")
_CODES = {
    400: "bad_request",
    401: "no_valid_key",
    403: "not_allowed",
    404: "not_found",
    405: "wrong_method",
    406: "not_acceptable",
    408: "too_slow",
    409: "conflict",
    413: "too_large",
    415: "unknown_format",
    422: "unusable",
    429: "limit_reached",
    503: "busy",
    507: "disk_full",
}
# Messages of the command line end with a command, which does not help over HTTP.
_COMMAND = re.compile(r": (run )?`annealq .*", re.DOTALL)

_STATUS: Sequence[tuple[type[AnnealqError], int, str, str]] = (
    (ImageError, 422, "unusable_images", "correct the images, then send them again"),
    (NetworkError, 422, "unusable_network", "GET /v1/networks lists the networks"),
    (IdempotencyConflict, 409, "idempotency_conflict", "send exactly the same request, or use another key"),
    (ParameterError, 422, "unusable_parameter", "GET /openapi.json lists all fields and their limits"),
    (InputError, 422, "unusable", "GET /openapi.json describes what is expected"),
    (NotFound, 404, "not_found", "GET /v1/runs, /v1/networks and /v1/embeddings list what exists"),
    (StaleState, 409, "conflict", "look at the run's state, then try again"),
    (Corrupt, 500, "damaged", "tell the operator: stored data does not match its checksum"),
    (DiskFull, 507, "disk_full", "send it again once the operator has made space"),
    (StorageError, 503, "database_away", "try again in a moment; GET /readyz reports what is wrong"),
    (BrokerUnavailable, 503, "broker_away", "try again in a moment; GET /readyz reports what is wrong"),
)


class InvalidFields(ParameterError):
    """Fields of a request are unknown, malformed or out of range; ``errors`` names each of them."""

    def __init__(self, problems: Sequence[Any], location: str | None = None) -> None:
        """Describe pydantic's ``problems``; without a ``location``, theirs begin with one."""
        self.errors = [_field_error(problem, location) for problem in problems]
        super().__init__("; ".join(f"{one.field}: {one.detail}" for one in self.errors))
        # Of several problems of a field, pydantic's last one is about the type that it takes in a form.
        self.wrong_fields = {
            one.field.partition(".")[0]: _about_value(problem)
            for one, problem in zip(self.errors, problems, strict=True)
        }


def install(app: FastAPI) -> None:
    """Let ``app`` answer every error with `ProblemDetails`."""
    for kind in (AnnealqError, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, handle)


def respond(error: AnnealqError, *, close: bool = False) -> ProblemResponse:
    """Return the response to a request that raised ``error``; ``close`` ends its connection."""
    response = _response(error)
    if close or response.status_code in _CLOSING:
        response.headers["Connection"] = "close"  # or the client would continue to send
    return response


def _response(error: AnnealqError) -> ProblemResponse:
    if isinstance(error, RequestRefused):
        return _answer(error.status, _code(error.status), str(error), error.hint, error.retry_after_s)
    for kind, status, code, hint in _STATUS:
        if isinstance(error, kind):
            retry_after_s = _RETRY_AFTER_S if status == 503 else None
            return _answer(status, code, _message(error, status), hint, retry_after_s, _field_errors(error))
    return _answer(500, "failed", str(error), "tell the operator")


def _message(error: AnnealqError, status: int) -> str:
    """Return the text for the client. Addresses of database and broker are only for the operator's log."""
    if status != 503:
        return _COMMAND.sub("", str(error))
    _LOG.warning("%s: %s", type(error).__name__, error)
    if isinstance(error, BrokerUnavailable):
        return "the broker does not answer"
    return "the database cannot be used"


def printable(text: str) -> str:
    """Return ``text`` without characters that a terminal cannot show, cut to 2,000 characters."""
    clean = "".join(letter if letter.isprintable() else "?" for letter in text)
    return clean if len(clean) <= _MAX_TEXT else clean[:_MAX_TEXT] + " ..."


async def handle(request: Request, error: Exception) -> ProblemResponse:
    """Return the response to a ``request`` that raised ``error``; log an unexpected one."""
    if isinstance(error, AnnealqError):
        return respond(error)
    if isinstance(error, RequestValidationError) and _is_of_other_type(request, error):
        return respond(_not_json(request))
    if isinstance(error, RequestValidationError):
        return respond(InvalidFields(error.errors()))
    if isinstance(error, HTTPException):
        message = f"{printable(f'{request.method} {request.url.path}')[:200]}: {error.detail}"
        hint = "GET /openapi.json lists all paths and methods"
        answer = _answer(error.status_code, _code(error.status_code), message, hint)
        answer.headers.update(error.headers or {})
        if error.status_code == 405:
            answer.headers["Allow"] = _allowed(request)
        return answer
    number = acting().request_id or secrets.token_hex(4)
    _LOG.error("request failed: %s %s", request.method, request.scope["path"], exc_info=error)
    message = f"the server failed; its log has the reason under {number}"
    return _answer(500, "failed", message, "try again, and tell the operator that number")


def _allowed(request: Request) -> str:
    """Return the methods of all routes that have the path of ``request``."""
    methods: set[str] = set()
    for route in request.app.state.routes:
        if route.path_regex.match(request.scope["path"]):
            methods |= route.methods
    return ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))


def _is_of_other_type(request: Request, error: RequestValidationError) -> bool:
    """Return whether the body was not read because it does not say that it is JSON."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    is_json = kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))
    return not is_json and isinstance(error.body, bytes) and error.body != b""


def _not_json(request: Request) -> RequestRefused:
    kind = request.headers.get("content-type", "")
    return RequestRefused(
        f"the content type {kind!r:.100} is not supported", 415, "send `Content-Type: application/json`"
    )


def _code(status: int) -> str:
    return _CODES.get(status, "failed" if status >= 500 else "bad_request")


def _field_errors(error: AnnealqError) -> Sequence[FieldError]:
    """Return the fields that ``error`` is about."""
    if isinstance(error, IdempotencyConflict):
        what = "differs from the request that this Idempotency-Key was used for"
        return [FieldError(field=field, location="body", detail=what) for field in error.fields]
    return error.errors if isinstance(error, InvalidFields) else ()


_TRIED = re.compile(r"\[|^constrained-")


def _field_error(problem: Any, location: str | None) -> FieldError:
    # Where a field may be of several types, pydantic also names the one that was tried: type[...].
    parts = [str(part) for part in problem["loc"] if not _TRIED.search(str(part))]
    if location is None:
        location = parts.pop(0) if parts else "body"
    field = printable(".".join(parts)) or "the request"
    return FieldError(
        field=field, location=location, detail=printable(problem["msg"].removeprefix("Value error, "))
    )


def _about_value(problem: Any) -> str:
    """Return what is wrong with the value of ``problem``, for a person who has typed it."""
    if problem["type"] == "string_pattern_mismatch":
        return printable(f"{problem['input']!r:.100} has characters that cannot be used")
    return printable(validation_text(problem["msg"], problem["input"]))


def _answer(
    status: int,
    code: str,
    message: str,
    hint: str,
    retry_after_s: float | None = None,
    errors: Sequence[FieldError] = (),
) -> ProblemResponse:
    headers = {} if retry_after_s is None else {"Retry-After": str(math.ceil(retry_after_s))}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return ProblemResponse(status, code, printable(message), hint, errors=errors, headers=headers)
