"""How the client reads what a server refuses."""

from __future__ import annotations

from functools import partial

import httpx
import pytest

from producer import client
from schema.errors import RequestRefused


@pytest.mark.parametrize(
    ("body", "hint"),
    [
        ({"code": "x", "detail": "no run 5", "hint": "look", "message": "older"}, "look"),
        ({"error": "x", "message": "no run 5", "hint": "look", "way_out": "older"}, "look"),
        ({"error": "x", "message": "no run 5", "way_out": "look"}, "look"),  # a server of version 0.1
        ({"detail": "no run 5", "way": 1}, "is it an annealq server?"),
        (["no run 5"], "is it an annealq server?"),
    ],
)
def test_a_refusal_has_the_hint_of_the_server(
    body: object, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    transport = httpx.MockTransport(lambda _request: httpx.Response(404, json=body))
    monkeypatch.setattr(client.httpx, "Client", partial(httpx.Client, transport=transport))
    with client.Client("http://example.com") as annealq, pytest.raises(RequestRefused) as refused:
        annealq.run(5)
    assert (refused.value.status, refused.value.hint) == (404, hint)
    assert str(refused.value).endswith(f": {hint}")
