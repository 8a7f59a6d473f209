"""The client's sessions, with our short way for polls and loads, against those that it makes itself."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest
from dwave.cloud import Client

from worker.sapi.client import SapiClient

_TYPE = "application/vnd.dwave.sapi.problem+json"
_ANSWER = b'{"id": "1", "answer": "' + b"A" * 300_000 + b'"}'
_GOOD = {"Content-Type": f"{_TYPE}; version=3.0.0"}
# By path: the status, headers and body of each response.
_RESPONSES: dict[str, tuple[int, dict[str, str], bytes]] = {
    "answer": (200, _GOOD, _ANSWER),
    "empty": (200, _GOOD, b"{}"),
    "no-json": (200, _GOOD, b"<html>"),
    "no-type": (200, {}, b"{}"),
    "other-type": (200, {"Content-Type": "text/html"}, b"{}"),
    "other-version": (200, {"Content-Type": f"{_TYPE}; version=4.0.0"}, b"{}"),
    "zipped": (200, {**_GOOD, "Content-Encoding": "gzip"}, gzip.compress(_ANSWER)),
    "zipped-badly": (200, {**_GOOD, "Content-Encoding": "gzip"}, b"not gzip"),
    "truncated": (200, {**_GOOD, "Content-Length": "1000"}, b"{}"),
    "cookie": (200, {**_GOOD, "Set-Cookie": "server=7; Path=/"}, b"{}"),
    "moved": (302, {"Location": "/sapi/v2/problems/answer/"}, b""),
    "bad-request": (400, _GOOD, b'{"error_code": 400, "error_msg": "no such thing"}'),
    "no-token": (401, {}, b""),
    "not-found": (404, {}, b"gone"),
    "busy": (429, {"Retry-After": "0"}, b"wait"),
    "broken": (500, {}, b"broken"),
}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    seen: ClassVar[list[tuple[str, str, dict[str, str]]]] = []

    def do_GET(self) -> None:
        self.seen.append((self.command, self.path, dict(self.headers.items())))
        status, headers, body = _RESPONSES[self.path.partition("?")[0].rstrip("/").rpartition("/")[2]]
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = "Content-Length" in headers

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
        pass


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/sapi/v2/"
        server.shutdown()
        thread.join()


class _Unmodified(SapiClient):
    _Session = Client._Session


@pytest.fixture(scope="module")
def clients(endpoint: str) -> Iterator[tuple[SapiClient, SapiClient]]:
    settings = {"token": "token", "http_retry_total": 1, "http_retry_backoff_factor": 0}
    made = _Unmodified(endpoint=endpoint, **settings), SapiClient(endpoint=endpoint, **settings)
    yield made
    for client in made:
        client.close()


def _outcome(session: Any, path: str) -> object:
    """What the client takes from a response, or the kind and text of its error."""
    try:
        return Client._sapi_request(session.get, path)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is compared
        return type(error), getattr(error, "error_code", None), str(error)[:60].partition("0x")[0]


@pytest.mark.parametrize("name", sorted(_RESPONSES))
def test_a_session_sends_and_takes_what_the_clients_own_does(
    name: str, clients: tuple[SapiClient, SapiClient]
) -> None:
    outcomes, requests = [], []
    for client in clients:
        _Handler.seen.clear()
        with client.create_session() as session:
            session.set_accept(media_type=_TYPE, accept_version="~=3.0", ask_version="3.0.0")
            outcomes.append([_outcome(session, f"problems/{name}/") for _ in range(3)])
            outcomes[-1] += [_outcome(session, f"problems/{name}?id=1,2&timeout=5"), client.retry_after_s]
        requests.append(list(_Handler.seen))
    assert outcomes[1] == outcomes[0]
    assert requests[1] == requests[0]
    assert requests[0]


def test_the_long_way_is_for_what_is_not_plain(clients: tuple[SapiClient, SapiClient]) -> None:
    _Handler.seen.clear()
    with clients[1].create_session() as session:
        session.get("problems/empty/", params={"label": "a b"})
        session.get("problems/empty/?label=a b")
        session.post("problems/empty/", data=b"[]")
        session.get("problems/empty/", headers={"X-More": "1"})
        session.get("problems/empty/")
    sent = [(method, path, headers.get("X-More")) for method, path, headers in _Handler.seen]
    assert sent == [
        ("GET", "/sapi/v2/problems/empty/?label=a+b", None),
        ("GET", "/sapi/v2/problems/empty/?label=a%20b", None),
        ("POST", "/sapi/v2/problems/empty/", None),
        ("GET", "/sapi/v2/problems/empty/", "1"),
        ("GET", "/sapi/v2/problems/empty/", None),
    ]
