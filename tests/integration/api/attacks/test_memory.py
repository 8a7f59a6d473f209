"""Memory is bounded over all requests: nothing is decoded that does not fit, and all of it is given back."""

from __future__ import annotations

import contextlib
import io
import zlib
from collections.abc import Iterator

import httpx
import numpy as np
import pytest
from PIL import Image
from sqlalchemy import insert

from producer.api.keys import keys
from producer.api.keys.keys import KeyLimits, Scope
from producer.api.load.memory import MemoryBudget
from schema.errors import RequestRefused
from schema.settings import load_api
from schema.tables import Network
from tests.integration.api.attacks.conftest import Attacked
from tests.integration.api.conftest import npz, send
from tests.integration.conftest import network_row
from tests.serving import client, serving


def test_memory_is_given_back_after_errors() -> None:
    memory = MemoryBudget("images", 10)
    with contextlib.suppress(ZeroDivisionError), memory.account() as take:
        take(4)
        take(6)
        with pytest.raises(RequestRefused, match="no memory left") as refused:
            memory.take(1)
        assert (refused.value.status, refused.value.retry_after_s) == (503, 5)
        raise ZeroDivisionError
    assert memory.used == 0
    with pytest.raises(RequestRefused, match="has 0 MB for all") as never:
        memory.take(11)
    assert never.value.status == 413
    memory.take(10)


@pytest.fixture(scope="module")
def small(attacked: Attacked) -> Iterator[httpx.Client]:
    """An API with memory for some images."""
    with attacked.database.transaction() as session:
        session.execute(insert(Network).values({**network_row(), "version": 3}))
    with (
        serving(str(attacked.database.url), load_api(memory_mb=2)) as address,
        client(address, attacked.key) as http,
    ):
        yield http


def deflated(shape: tuple[int, ...], dtype: type) -> bytes:
    """Return an .npz of zeros, a thousand times as small as what it unpacks to."""
    file = io.BytesIO()
    np.savez_compressed(file, images=np.zeros(shape, dtype))
    return file.getvalue()


def bomb(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.new("L", (width, height)).save(file, "PNG", compress_level=9)
    return file.getvalue()


BOMBS = {
    "npz of bytes": ("a.npz", deflated((20_000, 8, 8), np.uint8)),
    "npz of doubles": ("a.npz", deflated((3_000, 8, 8), np.float64)),
    "png": ("a.png", bomb(2_000, 2_000)),
    "truncated png": ("a.png", bomb(4_000, 4_000)[:200]),
    "gzip": ("a.npy.gz", b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03" + zlib.compress(bytes(3_000_000))[2:]),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_bombs_are_refused_before_they_are_decoded(small: httpx.Client, kind: str) -> None:
    name, data = BOMBS[kind]
    assert len(data) < 20_000
    answer = small.post("/v1/runs", files={"images": (name, data)})
    assert answer.status_code in (413, 422), answer.text
    if kind.startswith("npz") or kind == "png":
        assert "MB of memory" in answer.json()["detail"]


@pytest.mark.parametrize("body", [b"[" + b"[],"[:3] * 60_000 + b"[]]", b"[" + b"1," * 60_000 + b"1]"])
def test_json_is_not_parsed_without_memory_for_its_objects(small: httpx.Client, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    answer = small.post("/v1/runs", content=b'{"images": ' + body + b"}", headers=headers)
    assert answer.status_code == 413
    assert "MB of memory" in answer.json()["detail"]


def test_many_pictures_are_refused_by_the_sum_of_their_pixels(attacked: Attacked) -> None:
    header = bomb(4_096, 4_096)[:200]
    files = [("images", (f"{k}.png", header)) for k in range(120)]
    with serving(str(attacked.database.url)) as address, client(address, attacked.key) as http:
        answer = http.post("/v1/runs", files=files)
    assert answer.status_code == 422
    assert "120 pictures of 2,013,265,920 pixels" in answer.json()["detail"]


def test_long_json_is_refused_before_it_is_parsed(attacked: Attacked) -> None:
    headers = {"Content-Type": "application/json"}
    with serving(str(attacked.database.url)) as address, client(address, attacked.key) as http:
        answer = http.post("/v1/runs", content=b"[" + b"1," * 2_100_000, headers=headers)
    assert answer.status_code == 413
    assert "npz file in a form" in answer.json()["hint"]


def test_what_fits_is_taken_again_and_again(small: httpx.Client) -> None:
    for seed in range(3):
        assert send(small, npz(20, seed=seed)).status_code == 202


def test_a_spent_quota_is_noticed_before_anything_is_decoded(attacked: Attacked, small: httpx.Client) -> None:
    key = keys.add(attacked.database, "spent", Scope.SUBMIT, KeyLimits(images_per_day=4)).key
    headers = {"Authorization": f"Bearer {key}"}
    first = small.post("/v1/runs", files={"images": ("a.npz", npz(4))}, headers=headers)
    assert first.status_code == 202, first.text
    damaged = small.post("/v1/runs", files={"images": ("a.npz", b"PK nothing")}, headers=headers)
    assert damaged.status_code == 429
    assert int(damaged.headers["Retry-After"]) > 0
