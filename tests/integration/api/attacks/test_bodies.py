"""Bodies that are huge, endless, or come from nobody: none is read further than it must be."""

from __future__ import annotations

import json

import pytest
from fastapi.routing import APIRoute

from producer.api.app import ROUTERS
from producer.api.core.body_limit import MAX_CONTROL
from producer.api.core.key_check import needs_key
from tests.integration.api.attacks.conftest import MAX_BODY, Attacked, head

ENDLESS = "Transfer-Encoding: chunked"
JSON = "Content-Type: application/json"
HUGE = "Content-Length: 10000000000"


def writing_routes() -> list[tuple[str, str]]:
    """Return method and path of every route of the API that may have a body and needs a key."""
    routes = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]
    paths = [(method, route.path.replace("{run}", "1")) for route in routes for method in route.methods]
    return [(method, path) for method, path in paths if method not in ("GET", "HEAD") and needs_key(path)]


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


@pytest.mark.parametrize("headers", [(HUGE,), (ENDLESS,), (HUGE, "Expect: 100-continue")])
def test_nothing_of_a_strangers_body_is_read(attacked: Attacked, headers: tuple[str, ...]) -> None:
    for method, path in [*writing_routes(), ("POST", "/v1/nowhere"), ("PATCH", "/metrics")]:
        for key in (None, "aq_00000000_" + "a" * 43):
            # The server answers and hangs up although no byte of the body has come.
            answer = attacked.exchange(head(method, path, JSON, *headers, key=key))
            assert status(answer) in ((401,) if key is None else (401, 429)), (method, path, answer)
            assert b"connection: close" in answer.lower()
            assert json.loads(answer.partition(b"\r\n\r\n")[2])["message"]


@pytest.mark.parametrize("path", ["/v1/runs", "/v1/runs/1/resume", "/v1/runs/1/cancel", "/login", "/nowhere"])
def test_too_large_bodies_end_the_connection(attacked: Attacked, path: str) -> None:
    limit = MAX_BODY if path == "/v1/runs" else MAX_CONTROL
    announced = attacked.exchange(head("POST", path, JSON, f"Content-Length: {limit + 1}", key=attacked.key))
    chunk = b" " * (limit // 2)
    chunked = f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n"
    counted = attacked.exchange(
        head("POST", path, JSON, ENDLESS, key=attacked.key), chunked, chunked, chunked
    )
    for answer in (announced, counted):
        assert status(answer) == 413, answer
        assert b"connection: close" in answer.lower()


def test_lengths_that_are_none(attacked: Attacked) -> None:
    for length in ("-5", "1e3", "0x10", "1" * 30, " "):
        answer = attacked.exchange(
            head("POST", "/v1/runs/1/resume", JSON, f"Content-Length: {length}", key=attacked.key)
        )
        assert status(answer) in (400, 413), (length, answer)
