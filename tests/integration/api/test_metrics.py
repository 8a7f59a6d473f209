"""Metrics of the API's process. Those of the database are in test_operations.py."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.parser import text_string_to_metric_families

from producer.api.keys import keys
from producer.api.keys.keys import KeyLimits, Scope
from producer.api.metrics.monotone import Monotone
from producer.networks.chosen import ChosenNetwork
from schema.database import Database
from schema.settings import load_api
from tests.integration.api.conftest import npz, send
from tests.receivers import receiving
from tests.serving import client, serving

Sample = Callable[..., float]


@pytest.fixture
def database_url(_sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """One database: what a process counts is the same with each."""
    return f"sqlite:///{shutil.copy(_sqlite_template, tmp_path_factory.mktemp('database') / 'annealq.db')}"


def sampled(http: httpx.Client) -> Sample:
    """Return a function that gives the sum of the samples of a name that have these labels, as of now."""
    families = list(text_string_to_metric_families(http.get("/metrics").raise_for_status().text))
    samples = [sample for family in families for sample in family.samples]

    def value(name: str, **labels: str) -> float:
        return sum(
            each.value for each in samples if each.name == name and labels.items() <= each.labels.items()
        )

    return value


def test_requests_are_counted_by_the_template_of_their_route(http: httpx.Client) -> None:
    for run in range(1, 4):
        http.get(f"/v1/runs/{run}")
    http.get("/v1/runs")
    http.get("/runs/5")  # a page
    http.delete("/v1/networks")
    http.get("/v1/runs?limit=0")
    http.head("/v1/runs")
    value = sampled(http)
    requests = "annealq_http_requests_total"
    assert value(requests, route="/v1/runs/{run}", method="GET", status="404") == 3
    assert (
        value(requests, route="/v1/runs", method="GET", status="200")
        == value(requests, route="/v1/runs", status="422")
        == 1
    )
    assert value(requests, route="/runs/{run:int}", status="404") == 1
    assert value(requests, route="/v1/networks", method="DELETE", status="405") == 1
    assert value(requests, route="/v1/runs", method="HEAD", status="200") == 1
    assert value("annealq_http_request_duration_seconds_count", route="/v1/runs/{run}") == 3
    assert value("annealq_http_request_duration_seconds_bucket", route="/v1/runs/{run}", le="+Inf") == 3
    assert 0 < value("annealq_http_request_duration_seconds_sum", route="/v1/runs/{run}") < 60
    assert value("annealq_http_requests_in_flight") == 1  # the one that asks
    assert value("process_resident_memory_bytes") > 1e6
    assert value("annealq_build_info", part="api") == 1


def test_what_clients_invent_makes_no_series(http: httpx.Client) -> None:
    before = http.get("/metrics").text.count("\n")
    for k in range(50):
        http.get(f"/nowhere/{k}")
        http.get(f"/v1/networks/name{k}", headers={"Authorization": f"Bearer {k}"})
    for method in ("PROPFIND", "MKCOL", "REPORT", "SEARCH", "COPY", "LOCK", "PURGE"):
        http.request(method, "/v1/runs")
    assert http.get("/metrics").text.count("\n") - before < 300  # a few routes with their buckets
    value = sampled(http)
    assert value("annealq_http_requests_total", method="other") == 7
    assert value("annealq_http_requests_total", route="other") >= 50


def test_refusals_are_counted(database_url: str, database: Database) -> None:
    made = keys.add(database, "slow", Scope.READ, KeyLimits(requests_per_minute=1))
    admin = keys.add(database, "admin", Scope.ADMIN)
    with (
        serving(database_url) as address,
        client(address, made.key) as slow,
        client(address, admin.key) as http,
    ):
        statuses = [slow.get("/v1/runs").status_code for _ in range(4)]
        statuses.append(httpx.get(f"{address}/v1/runs", trust_env=False).status_code)
        value = sampled(http)
    assert statuses.count(429) >= 2  # a minute may have ended between
    assert value("annealq_http_requests_total", status="429") == statuses.count(429)
    assert value("annealq_http_requests_total", status="401") == 1
    assert value("annealq_pool_threads", pool="keys") == 2


def test_listeners_and_requests_in_flight_return_to_none(http: httpx.Client, network: ChosenNetwork) -> None:
    run = send(http).json()["run_id"]
    with http.stream("GET", f"/v1/runs/{run}/events") as stream:
        lines = stream.iter_lines()
        while not next(lines).startswith("data:"):
            pass
        value = sampled(http)
        assert value("annealq_event_listeners") == 1
        assert value("annealq_http_requests_in_flight") == 2
    gone = threading.Event()
    while not gone.wait(0.02):
        value = sampled(http)
        if value("annealq_event_listeners") == 0 and value("annealq_http_requests_in_flight") == 1:
            gone.set()
    stream_s = value("annealq_http_request_duration_seconds_sum", route="/v1/runs/{run}/events")
    assert value("annealq_http_requests_total", route="/v1/runs/{run}/events") == 1
    assert stream_s < 30  # until it began


def test_attempts_at_webhooks_are_timed(network: ChosenNetwork, database_url: str) -> None:
    with (
        receiving() as receiver,
        serving(database_url, load_api(webhook_private=True)) as address,
        client(address) as other,
    ):
        receiver.statuses += [500]
        hook = f'{{"url": "{receiver.url}", "secret": "whsec_{"A" * 32}"}}'
        run = send(other, npz(3), webhook=hook).json()["run_id"]
        other.post(f"/v1/runs/{run}/cancel")
        receiver.next()
        name, ended = "annealq_webhook_attempt_duration_seconds_count", threading.Event()
        while not ended.wait(0.02):
            if sampled(other)(name, outcome="failed") == 1:
                ended.set()
        assert sampled(other)(name, outcome="delivered") == 0


def test_counters_do_not_fall_when_rows_are_deleted() -> None:
    monotone = Monotone()

    def lifted(charged: float, runs: float) -> list[float]:
        counter = CounterMetricFamily("charged", "", labels=["solver"])
        counter.add_metric(["dwave"], charged)
        gauge = GaugeMetricFamily("runs", "", runs)
        return [sample.value for metric in monotone.lift([counter, gauge]) for sample in metric.samples]

    values = [lifted(*pair) for pair in ((10, 3), (4, 1), (5, 1), (0, 0), (2, 1))]
    assert values == [[10, 3], [10, 1], [11, 1], [11, 0], [13, 1]]
