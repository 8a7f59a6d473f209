"""How a solver is reached: what the client takes from the environment."""

from __future__ import annotations

import pytest

from worker.annealers.client import Access, connect

ENDPOINT = "https://solver.example/sapi/v2/"


def test_proxies_and_certificates_of_the_environment_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/etc/ours.pem")
    client = connect(Access(ENDPOINT, "token"))
    try:
        with client.create_session() as session:
            asked = session.merge_environment_settings(f"{ENDPOINT}problems/", {}, None, None, None)
            assert asked["proxies"]["https"] == "http://proxy.example:3128"
            assert asked["verify"] == "/etc/ours.pem"
            assert not session.trust_env
    finally:
        client.close()


def test_hosts_that_need_no_proxy_are_reached_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "solver.example")
    client = connect(Access(ENDPOINT, "token"))
    try:
        with client.create_session() as session:
            assert "https" not in session.proxies
    finally:
        client.close()
