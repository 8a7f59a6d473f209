"""What the client takes from the environment."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

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


@pytest.mark.parametrize(("timeout_s", "wait_s"), [(60.0, 5), (5.0, 2), (0.8, 0)])
def test_a_poll_is_answered_before_its_request_runs_out_of_time(timeout_s: float, wait_s: int) -> None:
    assert Access(request_timeout_s=timeout_s).poll_wait_s == wait_s
