"""What the client takes from the environment."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import pytest
import requests

from worker.sapi.client import Access, SapiClient, connect

ENDPOINT = "https://solver.example/sapi/v2/"


@pytest.fixture
def client() -> Iterator[SapiClient]:
    made = connect(Access(ENDPOINT, "token"))
    yield made
    made.close()


def test_proxies_and_certificates_of_the_environment_are_used(
    client: SapiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/etc/ours.pem")
    with client.create_session() as session:
        monkeypatch.delenv("HTTPS_PROXY")  # it was read before
        asked = session.merge_environment_settings(f"{ENDPOINT}problems/", {}, None, None, None)
        assert asked["proxies"]["https"] == "http://proxy.example:3128"
        assert asked["verify"] == "/etc/ours.pem"


def test_hosts_that_need_no_proxy_are_reached_without(
    client: SapiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "solver.example")
    with client.create_session() as session:
        assert "https" not in session.proxies


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "127.8.8.8"])
def test_this_machine_is_never_reached_through_a_proxy(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://proxy.example:3128")
    endpoint = f"http://{host}:8477/sapi/v2/"
    made = connect(Access(endpoint, "token"))
    try:
        for session in (made.create_session(), made.solvers_session.session):
            asked = session.merge_environment_settings(endpoint, {}, None, None, None)
            assert not asked["proxies"]
    finally:
        made.close()


def test_problems_are_deflated_for_a_distant_server(client: SapiClient) -> None:
    problems = requests.Request("POST", f"{ENDPOINT}problems/", data=b'[{"data": "AAAA"}]' * 1000)
    with client.create_session() as session:
        sent = session.prepare_request(problems)
    assert sent.headers["Content-Encoding"] == "deflate"
    assert isinstance(sent.body, bytes)
    assert int(sent.headers["Content-Length"]) == len(sent.body) < len(problems.data) / 10
    assert zlib.decompress(sent.body) == problems.data
    assert not client.config.compress_qpu_problem_data  # not twice


def test_nothing_is_deflated_for_a_near_server() -> None:
    near = connect(Access(ENDPOINT, "token", deflates=False))
    with near.create_session() as session:
        sent = session.prepare_request(requests.Request("POST", f"{ENDPOINT}problems/", data=b"[]"))
    near.close()
    assert "Content-Encoding" not in sent.headers
    assert sent.body == b"[]"


@pytest.mark.parametrize(("timeout_s", "wait_s"), [(60.0, 5), (5.0, 2), (0.8, 0)])
def test_a_poll_is_answered_before_its_request_runs_out_of_time(timeout_s: float, wait_s: int) -> None:
    assert Access(request_timeout_s=timeout_s).poll_wait_s == wait_s
