"""An API on this machine: its token, the open mode, sessions of browsers, and what other sites may send."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from sqlalchemy import insert

from producer.api.keys import keys, local_token
from producer.api.keys.authentication import LocalAccess
from producer.api.keys.keys import Scope
from producer.networks.choose import choose_network
from producer.runs.enqueue import RunOptions, enqueue_run
from schema.errors import StackError
from schema.parameters import Parameters, Solver
from schema.shapes import ImageShape
from schema.tables import Network
from tests.integration.api.attacks.conftest import Attacked
from tests.integration.conftest import network_row, some_images
from tests.serving import THIS_MACHINE, client, serving


def test_the_token_is_made_once_and_private(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with ThreadPoolExecutor(8) as threads:
        found = set(threads.map(lambda _: local_token.read_or_create(home), range(8)))
    assert len(found) == 1
    path = home / "api-token"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [found.name for found in home.iterdir()] == ["api-token"]
    path.chmod(0o640)
    with pytest.raises(StackError, match="others may read"):
        local_token.read_or_create(home)
    path.chmod(0o600)
    path.write_text("no token")
    with pytest.raises(StackError, match="delete it"):
        local_token.read_or_create(home)
    path.unlink()
    assert local_token.read_or_create(home) not in found


@pytest.fixture(scope="module")
def opened(attacked: Attacked) -> Iterator[str]:
    """The address of an API that needs no key."""
    with serving(str(attacked.database.url), local=LocalAccess(is_open=True)) as address:
        yield address


FOREIGN = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://["},
    {"Host": "evil.example"},
    {"Host": "127.0.0.1.evil.example"},
    {"Host": "["},
    {"X-Forwarded-For": "10.0.0.1"},
    {"X-Forwarded-Host": "annealq.example"},
    {"Forwarded": "for=10.0.0.1"},
    {"X-Real-IP": "10.0.0.1"},
    {"Via": "1.1 proxy"},
]


@pytest.mark.parametrize("headers", FOREIGN, ids=lambda headers: " ".join(map(str, headers.items())))
def test_without_keys_neither_sites_nor_proxies_are_served(opened: str, headers: dict[str, str]) -> None:
    with client(opened, None) as http:
        assert http.get("/v1/runs").status_code == http.get("/").status_code == 200
        for method, path in (("GET", "/v1/runs"), ("GET", "/"), ("POST", "/v1/runs"), ("GET", "/metrics")):
            assert http.request(method, path, headers=headers).status_code == 403, path
        # A key or a token opens nothing that is not there; a wrong one is no key.
        assert http.get("/v1/runs", headers={"Authorization": f"Bearer {THIS_MACHINE}"}).status_code == 401


def test_a_stale_cookie_locks_nobody_out(opened: str, attacked: Attacked) -> None:
    for name in ("annealq-key", "annealq-00000000", *cookie_names(attacked.address)):
        with httpx.Client(trust_env=False, cookies={name: "stale"}) as http:
            assert http.get(f"{opened}/").status_code == 200
            assert http.get(f"{attacked.address}/").status_code == 401
            entered = http.get(f"{attacked.address}/?token={THIS_MACHINE}", follow_redirects=True)
            assert entered.status_code == 200


def cookie_names(address: str) -> list[str]:
    with client(address, None) as http:
        http.get(f"/?token={THIS_MACHINE}")
        return list(http.cookies)


def test_a_link_with_the_token_begins_a_session_that_a_logout_ends(attacked: Attacked) -> None:
    with client(attacked.address, None) as http:
        assert http.get(f"/solvers?token={THIS_MACHINE[:-1]}u").status_code == 401
        answer = http.get(f"/solvers?token={THIS_MACHINE}")
        assert (answer.status_code, answer.headers["Location"]) == (303, "/solvers")
        cookie = answer.headers["Set-Cookie"].lower()
        assert all(word in cookie for word in ("httponly", "samesite=strict", "max-age=604800"))
        assert THIS_MACHINE.lower() not in cookie
        assert http.get("/solvers").status_code == 200
        (name, value), *_ = http.cookies.items()
        assert http.post("/logout", headers={"Origin": "https://evil.example"}).status_code == 403
        assert http.get("/").status_code == 200
        assert http.post("/logout").status_code == 303
        # Also who has copied the cookie is out.
        assert http.get("/", headers={"Cookie": f"{name}={value}"}).status_code == 401
        # The API takes no cookies.
        assert http.get("/v1/runs", headers={"Cookie": f"{name}={value}"}).status_code == 401


def test_a_session_has_nothing_of_its_key_and_ends_with_it(attacked: Attacked) -> None:
    key = keys.add(attacked.database, "visitor", Scope.READ).key
    with client(attacked.address, None) as http:
        answer = http.post("/login", data={"key": key})
        assert answer.status_code == 303
        assert key[12:] not in answer.headers["Set-Cookie"]
        assert http.get("/").status_code == 200
        keys.revoke(attacked.database, "visitor")
        assert http.get("/").status_code == 401


def test_a_stream_of_events_ends_with_its_key(attacked: Attacked) -> None:
    database = attacked.database
    with database.transaction() as session:
        session.execute(insert(Network).values({**network_row(), "version": 7}))
        network = choose_network(session, "digits@7", ImageShape.image(8, 8))
    run = enqueue_run(database, some_images(3), network, Solver.LOCAL, Parameters(reads=3), RunOptions()).id
    key = keys.add(database, "follower", Scope.ADMIN).key
    with client(attacked.address, key) as http, http.stream("GET", f"/v1/runs/{run}/events") as stream:
        lines = stream.iter_lines()
        assert next(lines).startswith("retry")
        keys.revoke(database, "follower")
        assert "event: end" not in list(lines)  # it ends although the run does not


NUMBERS = ("0", "9" * 30, "-1", "%00", "1.5", "\u0663", "2147483648")
PATHS = (
    *("/v1/runs/{0}", "/v1/runs?before={0}&limit={0}", "/v1/runs/1/results?cursor={0}&limit={0}"),
    *("/runs/{0}", "/runs/1/images/{0}", "/embeddings/{0}.png", "/?before={0}", "/v1/runs/{0}/"),
    "/solvers/?x={0}",
)


@pytest.mark.parametrize(
    "host", ["[", "]", "a b", "[::1", "localhost:99999999", "%", "\\", "a@b", "\u00c3\u00bc"]
)
def test_no_number_and_no_host_breaks_the_server(attacked: Attacked, host: str) -> None:
    with client(attacked.address, attacked.key) as http:
        for path in (path.format(number) for path in PATHS for number in NUMBERS):
            assert http.get(path, headers={"Host": host.encode("latin-1")}).status_code < 500, path
