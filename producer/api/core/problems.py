"""The body of every error response: problem details as RFC 9457 has them. Tracebacks are never sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from pydantic import BaseModel, Field
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

MEDIA_TYPE = "application/problem+json"
_MAX_PATH = 500

# What each code means. The type of a problem is TYPES + its code, a path of the same server that explains it.
TYPES = "/problems/"
TITLES = {
    "bad_request": "The request cannot be understood",
    "no_valid_key": "No valid API key came with the request",
    "not_allowed": "The key does not permit this",
    "not_found": "There is no such thing, or the key does not see it",
    "wrong_method": "The path does not have this method",
    "not_acceptable": "No format that the client accepts is available",
    "too_slow": "The request did not arrive in time",
    "conflict": "The present state does not allow this",
    "idempotency_conflict": "The Idempotency-Key belongs to another request",
    "too_large": "The request is too large",
    "unknown_format": "The content type is not supported",
    "unusable": "The input cannot be used",
    "unusable_images": "The images or labels cannot be used",
    "unusable_network": "The network cannot be used",
    "unusable_parameter": "A field is unknown, malformed or out of range",
    "limit_reached": "A limit of the key is reached",
    "failed": "The server failed",
    "damaged": "Stored data does not match its checksum",
    "busy": "The server has too much to do",
    "database_away": "The database cannot be used",
    "broker_away": "The broker does not answer",
    "disk_full": "The server's disk is full",
    "not_ready": "A part of the server is not ready",
}


class FieldError(BaseModel):
    """One field of a request that cannot be used."""

    field: str = Field(description="Its name; parts of a nested field are separated by dots.")
    location: str = Field(description="Where it was found: body, query, path or header.")
    detail: str = Field(description="What is wrong with it.")


class ProblemDetails(BaseModel):
    """The JSON body of every error response (RFC 9457)."""

    type: str = Field(description="URI of the kind of problem; a path of this server that explains it.")
    title: str = Field(description="The kind of problem, in words.")
    status: int = Field(description="The status of the response.")
    detail: str = Field(description="What is wrong with this request.")
    instance: str = Field("", description="The path that was requested.")
    code: str = Field(description="The kind of problem, for programs: not_found, limit_reached ...")
    hint: str = Field(description="What to do about it.")
    errors: list[FieldError] = Field([], description="The fields that cannot be used, if the fields are why.")
    error: str = Field(description="The same as `code`, under its former name.", deprecated=True)
    message: str = Field(description="The same as `detail`, under its former name.", deprecated=True)
    way_out: str = Field(description="The same as `hint`, under its former name.", deprecated=True)


def problem_schemas() -> dict[str, Any]:
    """Return the JSON schemas of an error's body by name, for /openapi.json."""
    described = ProblemDetails.model_json_schema(ref_template="#/components/schemas/{model}")
    return {**described.pop("$defs"), "ProblemDetails": described}


class ProblemResponse(JSONResponse):
    """An error response, which learns the path of its request when it is sent.

    Args:
        code: one of `TITLES`; ``detail`` and ``hint`` say more.
        errors: the fields that cannot be used.
        more: further members of the body.
    """

    media_type = MEDIA_TYPE

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        hint: str,
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        self._values = {
            "type": f"{TYPES}{code}",
            "title": TITLES[code],
            "status": status,
            "detail": detail,
            "instance": "",
            "code": code,
            "hint": hint,
            "errors": [error.model_dump() for error in errors],
            "error": code,
            "message": detail,
            "way_out": hint,
            **(more or {}),
        }
        super().__init__(self._values, status, headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = str(scope.get("path", ""))[:_MAX_PATH]
        self.body = self.render({**self._values, "instance": quote(path)})
        self.headers["content-length"] = str(len(self.body))
        await super().__call__(scope, receive, send)
