"""The API on each database, and requests to it."""

from __future__ import annotations

import io
from collections.abc import Iterator

import httpx
import numpy as np
import pytest

from tests.integration.conftest import some_images
from tests.serving import THIS_MACHINE, client, serving


@pytest.fixture
def address(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("ANNEALQ_KEY", THIS_MACHINE)  # for clients
    with serving(database_url) as found:
        yield found


@pytest.fixture
def http(address: str) -> Iterator[httpx.Client]:
    """Return a client with this machine's token."""
    with client(address) as opened:
        yield opened


@pytest.fixture(scope="module")
def shared_http(shared_database_url: str) -> Iterator[httpx.Client]:
    """Return a client with this machine's token, one for all tests of a module that only read."""
    with serving(shared_database_url) as found, client(found) as opened:
        yield opened


def npz(count: int = 30, *, seed: int = 0) -> bytes:
    """Return labelled images of 8 x 8 pixels as a file."""
    images = some_images(count, seed=seed)
    file = io.BytesIO()
    np.savez(file, images=images.images, labels=images.labels)
    return file.getvalue()


def send(http: httpx.Client, data: bytes | None = None, **fields: object) -> httpx.Response:
    """Send an .npz file; `key=` is its Idempotency-Key."""
    key = fields.pop("key", None)
    headers = {} if key is None else {"Idempotency-Key": str(key)}
    form = {name: value if isinstance(value, list) else str(value) for name, value in fields.items()}
    files = {"images": ("some.npz", npz() if data is None else data)}
    return http.post("/v1/runs", files=files, data=form, headers=headers)


def refused(response: httpx.Response, status: int) -> str:
    """Check the body of an error, and return its message."""
    assert response.status_code == status, response.text
    error = response.json()
    assert response.headers["content-type"] == "application/problem+json"
    assert set(error) >= {"type", "title", "status", "detail", "instance", "code", "hint", "errors"}
    assert error["status"] == status
    assert error["type"] == f"/problems/{error['code']}"
    assert error["instance"].startswith("/")
    assert (error["error"], error["message"], error["way_out"]) == (
        *(error["code"], error["detail"]),
        error["hint"],
    )
    assert all(error[name] for name in ("title", "detail", "code", "hint"))
    assert "Traceback" not in response.text
    return str(error["detail"])
