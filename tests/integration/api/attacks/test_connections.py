"""Connections that are many, slow or silent: they are closed in time, and others are served meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import select
import socket
from collections.abc import Iterator

import pytest

from producer.api.load.connections import ConnectionLimits, QuietErrors
from tests.integration.api.attacks.conftest import Attacked, head, read_all
from tests.serving import client, serving

LIMITS = ConnectionLimits(total=5, per_address=4, head_s=0.3, idle_s=0.3, stalled_s=0.3, linger_s=0.3)
PATIENT = ConnectionLimits(total=5, per_address=4, head_s=60, idle_s=60, stalled_s=60, linger_s=60)


@pytest.fixture
def hasty(attacked: Attacked) -> Iterator[Attacked]:
    """The same API, with short times."""
    with serving(str(attacked.database.url), limits=LIMITS) as address:
        yield Attacked(address, attacked.database, attacked.key)


@pytest.fixture
def small(attacked: Attacked) -> Iterator[Attacked]:
    """The same API, with long times and few connections."""
    with serving(str(attacked.database.url), limits=PATIENT) as address:
        yield Attacked(address, attacked.database, attacked.key)


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"", b"HTTP/1.1 408"),
        (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow: ", b"HTTP/1.1 408"),
        (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", b"HTTP/1.1 200"),
        (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /", b"HTTP/1.1 200"),
        (b"GET /healthz HTTP/1.1\r\n" + b"X: " + b"a" * 400_000, b"HTTP/1.1 431"),
        (b"GET /healthz HTTP/1.1\r\n" + b"X: a\r\n" * 60_000, b"HTTP/1.1 431"),
    ],
    ids=["silent", "half a head", "idle", "half a second head", "long header", "many headers"],
)
def test_a_connection_that_waits_is_closed(hasty: Attacked, sent: bytes, answer: bytes) -> None:
    with hasty.connect() as connection:
        try:
            connection.sendall(sent)
            found = read_all(connection)
        except ConnectionError:
            return  # closed while the client was still sending
    assert found.startswith(answer)


def test_a_head_that_trickles_is_not_waited_for(hasty: Attacked) -> None:
    with hasty.connect() as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\n")
        connection.settimeout(0.02)
        found = None
        while found is None:  # no byte restarts the clock
            connection.sendall(b"X")
            with contextlib.suppress(TimeoutError):
                found = connection.recv(100)
    assert found.startswith(b"HTTP/1.1 408")


def test_one_that_waits_makes_room(small: Attacked) -> None:
    silent = [small.connect() for _ in range(12)]
    with client(small.address, small.key) as http:
        assert http.get("/v1/runs").status_code == 200
    # The first ones were closed for those that came later; the last ones are open.
    for connection in silent[:8]:
        assert connection.recv(100) == b""
    silent[-1].sendall(head("GET", "/healthz"))
    assert silent[-1].recv(100).startswith(b"HTTP/1.1 200")
    for connection in silent:
        connection.close()


def is_served(connection: socket.socket) -> bool:
    """Send a request, and return whether a whole answer comes."""
    connection.sendall(head("GET", "/healthz"))
    answer = b""
    while not answer.endswith(b"}"):
        answer += (part := connection.recv(1_000))
        if not part:
            return False
    return answer.startswith(b"HTTP/1.1 200")


def test_the_one_that_has_waited_longest_makes_room(small: Attacked) -> None:
    with contextlib.ExitStack() as stack:
        used, silent, other, _ = (stack.enter_context(small.connect()) for _ in range(4))
        for _ in range(2):  # new ones that come between two requests
            assert is_served(used)
            stack.enter_context(small.connect()).sendall(b"GET /")
        assert (silent.recv(100), other.recv(100)) == (b"", b"")
        assert is_served(used)


def test_where_none_waits_the_next_is_refused(small: Attacked) -> None:
    more = ("Content-Type: application/json", "Content-Length: 9", "Expect: 100-continue")
    with contextlib.ExitStack() as stack:
        for _ in range(4):
            busy = stack.enter_context(small.connect())
            busy.sendall(head("POST", "/v1/runs", *more, key=small.key))
            assert busy.recv(100).startswith(b"HTTP/1.1 100")  # the server waits for the body
        late = stack.enter_context(small.connect())
        assert b"Retry-After" in read_all(late)


def test_a_client_that_reads_nothing_is_let_go(hasty: Attacked) -> None:
    with hasty.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        connection.sendall(head("GET", "/docs/swagger-ui-bundle.js") * 1_000)  # answers of gigabytes
        poll = select.poll()
        poll.register(connection, 0)
        assert [event & select.POLLHUP for _, event in poll.poll(20_000)] == [select.POLLHUP]


def test_a_refused_body_does_not_hide_the_refusal(attacked: Attacked) -> None:
    chunk = b"1000\r\n" + b" " * 0x1000 + b"\r\n"
    answer = attacked.exchange(head("POST", "/v1/runs/1/resume", "Transfer-Encoding: chunked"), chunk * 200)
    assert answer.startswith(b"HTTP/1.1 401")
    assert b"hint" in answer


def test_running_out_of_descriptors_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    loop = asyncio.new_event_loop()
    quiet = QuietErrors()
    with caplog.at_level(logging.ERROR):
        for _ in range(100):
            error = OSError(errno.EMFILE, "Too many open files")
            quiet(loop, {"message": "socket.accept() out of system resource", "exception": error})
        assert len(caplog.records) == 1
        assert "ulimit" in caplog.text
        quiet(loop, {"message": "another error"})
    loop.close()
    assert len(caplog.records) == 2
