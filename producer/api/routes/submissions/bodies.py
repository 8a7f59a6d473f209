"""What requests that send images share: their JSON, their content type, and their idempotency key."""

from __future__ import annotations

import json
from contextlib import AbstractAsyncContextManager
from typing import Annotated, Any

from fastapi import Header, Request
from starlette.datastructures import FormData

from producer.api.keys.keys import Caller
from producer.api.load.memory import Take
from producer.dashboard.web import transfers
from schema.errors import ParameterError, RequestRefused

# Bytes. Parsing them and making an array of them stops all other threads of Python for 0.1 s.
MAX_JSON = 4_000_000
_JSON_OBJECTS = 25  # bytes of Python objects for each byte of JSON: an empty list is 3 bytes, and 64 + 8
_MAX_KEY = 200
_MAX_FILES = 10_001
_MAX_FIELDS = 100
_MAX_FIELD = 100_000

IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=_MAX_KEY,
        pattern=r"^[!-~]+$",
        description="Makes retries safe: the same key and request return the existing run.",
    ),
]


def read_form(request: Request) -> AbstractAsyncContextManager[FormData]:
    """Return the form of ``request``, whose files are deleted after the block; raise DiskFull."""
    return transfers.read_form(
        request, max_files=_MAX_FILES, max_fields=_MAX_FIELDS, max_part_size=_MAX_FIELD
    )


def unsupported(kind: str) -> RequestRefused:
    """Return the refusal of a body of the content type ``kind``."""
    return RequestRefused(
        f"the content type {kind!r:.100} is not supported",
        415,
        "send multipart/form-data with files called `images`, or application/json",
    )


def parse_json(body: bytes, take: Take) -> dict[str, Any]:
    """Return the JSON object ``body``; ``take`` reserves its memory.

    Raises:
        RequestRefused: 413, 503, it is too large, or there is not enough memory.
        ParameterError: it is not a JSON object.
    """
    if len(body) > MAX_JSON:
        raise RequestRefused(
            f"{len(body) / 1e6:.1f} MB of JSON; at most {MAX_JSON / 1e6:g} MB",
            413,
            "send that many images as a .npy or .npz file in a form",
        )
    take(_JSON_OBJECTS * len(body))
    try:
        values = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ParameterError(f"the body is not valid JSON: {error}") from None
    if not isinstance(values, dict):
        raise ParameterError('the body must be a JSON object: {"images": [...], "network": "digits"}')
    return values


def own_key(caller: Caller, key: str) -> str:
    """Return ``key`` with the caller's name: two callers may choose the same key for different runs."""
    return key if caller.owner_id is None else f"{caller.name}/{key}"
