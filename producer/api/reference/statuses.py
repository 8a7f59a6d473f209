"""The statuses of errors that each operation may answer with, derived from what the operation has."""

from __future__ import annotations

from typing import Any

from producer.api.core.problems import MEDIA_TYPE

_PROBLEM = {"$ref": "#/components/schemas/ProblemDetails"}
_RETRY_AFTER = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}}
_MEANINGS = {
    400: "The request cannot be understood.",
    401: "No valid API key came with the request.",
    403: "The key does not permit this.",
    404: "There is no such thing, or the key does not see it.",
    406: "No format in `Accept` is available.",
    408: "The request did not arrive in time.",
    409: "The present state does not allow this.",
    413: "The request is too large.",
    415: "The content type is not supported.",
    422: "A field or the input cannot be used; `errors` names the fields.",
    429: "A limit of the key is reached.",
    500: "The server failed.",
    503: "The database cannot be used, or the server has too much to do.",
    507: "The server's disk is full.",
}
_WITH_RETRY_AFTER = (429, 503)
_ALWAYS = (400, 422, 500, 503)
_WITH_KEY = (401, 403, 429)
_WITH_BODY = (408, 413, 415, 507)


def error_responses() -> dict[str, Any]:
    """Return the described error responses by name, for `components` of /openapi.json."""
    unchanged = {"description": "The client has this answer already: `If-None-Match` names its `ETag`."}
    return {"Unchanged": unchanged} | {f"Error{status}": _response(status) for status in _MEANINGS}


def add_statuses(path: str, method: str, operation: dict[str, Any], *, needs_key: bool) -> None:
    """Add to a described ``operation`` every status that it may answer with.

    Args:
        path, method: where it is served.
        needs_key: whether callers are identified by their keys.
    """
    statuses = {*_ALWAYS, *(_WITH_KEY if needs_key else ())}
    if "{" in path:
        statuses.add(404)
    if "requestBody" in operation:
        statuses |= {*_WITH_BODY}
    if method != "get":
        statuses |= {404, 409}
    responses = operation["responses"]
    statuses |= {int(status) for status in responses if int(status) in _MEANINGS}  # that the route names
    if any(kind != "application/json" for kind in responses.get("200", {}).get("content", {})):
        statuses |= {406, 507}
    if method == "get" and needs_key:
        responses["304"] = {"$ref": "#/components/responses/Unchanged"}
    for status in sorted(statuses):
        responses[str(status)] = {"$ref": f"#/components/responses/Error{status}"}


def _response(status: int) -> dict[str, Any]:
    described: dict[str, Any] = {
        "description": _MEANINGS[status],
        "content": {MEDIA_TYPE: {"schema": _PROBLEM}},
    }
    if status in _WITH_RETRY_AFTER:
        described["headers"] = _RETRY_AFTER
    return described
