"""What HTTP asks of every answer: HEAD, Allow, media types, ETag, compression, limits, other sites."""

from __future__ import annotations

import httpx
import pytest
import zstandard

from producer.api.keys import keys
from producer.api.keys.keys import KeyLimits, Scope
from producer.networks.chosen import ChosenNetwork
from schema.database import Database
from schema.errors import ParameterError
from schema.settings import load_api
from tests.described import description
from tests.integration.api.conftest import npz, refused, send
from tests.serving import client, serving

STREAM = "text/event-stream"
GETS = [
    path
    for path, operations in description()["paths"].items()
    if "get" in operations
    and "{" not in path
    and STREAM not in operations["get"]["responses"]["200"].get("content", {})
]


def test_head_is_get_without_a_body(http: httpx.Client, network: ChosenNetwork) -> None:
    run = send(http).json()["run_id"]
    of_run = [f"/v1/runs/{run}", f"/v1/runs/{run}/results", "/v1/runs/999", "/docs", "/"]
    for path in (*GETS, *of_run):
        head, get = http.head(path), http.get(path)
        assert (head.status_code, head.content) == (get.status_code, b""), path
        assert head.headers["content-type"] == get.headers["content-type"]
    # A stream of events does not end: its headers come nevertheless.
    for path in ("/v1/events", f"/v1/runs/{run}/events"):
        assert http.head(path).headers["content-type"].startswith(STREAM), path


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/v1/runs", "GET, HEAD, POST"),
        ("/v1/runs/1", "DELETE, GET, HEAD, PATCH"),
        ("/v1/runs/1/cancel", "POST"),
        ("/healthz", "GET, HEAD"),
    ],
)
def test_allow_names_every_method_of_a_path(http: httpx.Client, path: str, allowed: str) -> None:
    answer = http.put(path)
    refused(answer, 405)
    assert answer.headers["Allow"] == allowed


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", None]
)
def test_bodies_of_another_type_than_json_are_refused(
    http: httpx.Client, network: ChosenNetwork, kind: str | None
) -> None:
    path = f"/v1/runs/{send(http).json()['run_id']}"
    headers = {} if kind is None else {"Content-Type": kind}
    for method, to in (("PATCH", path), ("POST", f"{path}/resume"), ("POST", f"{path}/rescore")):
        assert "json" in http.request(method, to, content=b"{}", headers=headers).json()["hint"]
        refused(http.request(method, to, content=b"{}", headers=headers), 415)


def test_an_answer_that_has_not_changed_is_not_sent_again(http: httpx.Client, network: ChosenNetwork) -> None:
    path = f"/v1/runs/{send(http).json()['run_id']}"
    for page in (path, "/v1/runs", "/v1/networks", "/openapi.json", "/docs/start.js"):
        first = http.get(page)
        tag = first.headers["ETag"]
        for known in (tag, f'"other", {tag}', "*"):
            again = http.get(page, headers={"If-None-Match": known})
            assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", tag)
        assert http.get(page, headers={"If-None-Match": 'W/"other"'}).content == first.content
    tag = http.get(path).headers["ETag"]
    http.post(f"{path}/pause")
    changed = http.get(path, headers={"If-None-Match": tag})
    assert (changed.status_code, changed.json()["state"]) == (200, "paused")
    # Errors have no tag.
    assert "ETag" not in http.get("/v1/runs/999").headers


def test_answers_are_compressed_as_the_client_asks(http: httpx.Client) -> None:
    plain = http.get("/openapi.json", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    packed = http.get("/openapi.json", headers={"Accept-Encoding": "gzip"})
    assert (packed.headers["content-encoding"], packed.content) == ("gzip", plain.content)
    with http.stream("GET", "/openapi.json", headers={"Accept-Encoding": "zstd"}) as answer:
        raw = b"".join(answer.iter_raw())
    assert answer.headers["content-encoding"] == "zstd"
    assert zstandard.ZstdDecompressor().decompressobj().decompress(raw) == plain.content
    assert len(raw) < len(plain.content) / 4
    # The tag is the same, however the answer was compressed.
    assert packed.headers["ETag"] == plain.headers["ETag"] == answer.headers["ETag"]


def test_a_limited_key_is_told_what_is_left(address: str, database: Database, network: ChosenNetwork) -> None:
    limits = KeyLimits(requests_per_minute=5, images_per_day=50, qpu_us_per_day=9_000_000)
    limited = keys.add(database, "limited", Scope.SUBMIT, limits).key
    free = keys.add(database, "free", Scope.READ).key
    with client(address, free) as http:
        me = http.get("/v1/me")
        assert "RateLimit" not in me.headers
        assert (me.json()["name"], me.json()["scope"], me.json()["sees_all_runs"]) == ("free", "read", False)
        assert set(me.json()["limits"].values()) == {None}
    with database.reading() as session:
        minute = database.now(session).minute
    with client(address, limited) as http:
        assert http.get("/v1/me").headers["RateLimit-Policy"] == '"requests";q=5;w=60'
        assert send(http, npz(20), solver="emulator", budget_s=2).status_code == 202
        me = http.get("/v1/me")
        answers = [http.get("/v1/me") for _ in range(3)]
        with database.reading() as session:
            if database.now(session).minute != minute:
                pytest.skip("the minute ended under the test")
        left = me.json()["left"]
        assert (left["requests"], left["images"], left["qpu_s"]) == (2, 30, 7.0)
        assert me.headers["RateLimit"].startswith('"requests";r=2;t=')
        assert me.json()["limits"] == {"requests_per_minute": 5, "images_per_day": 50, "qpu_s_per_day": 9.0}
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        refused(answers[-1], 429)
        assert answers[-1].headers["RateLimit"].startswith('"requests";r=0;t=')


def test_pages_of_named_sites_may_read_answers(database_url: str, database: Database) -> None:
    key = keys.add(database, "page", Scope.READ).key
    api = load_api(cors_origins="https://a.example, https://b.example/")
    ask = {"Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "authorization"}
    with serving(database_url, api) as address, client(address, None) as http:
        asked = http.options("/v1/runs/1", headers={"Origin": "https://b.example", **ask})
        assert asked.headers["Access-Control-Allow-Origin"] == "https://b.example"
        assert "PATCH" in asked.headers["Access-Control-Allow-Methods"]
        read = {"Authorization": f"Bearer {key}", "Origin": "https://a.example"}
        answer = http.get("/v1/runs", headers=read)
        assert answer.headers["Access-Control-Allow-Origin"] == "https://a.example"
        assert "ETag" in answer.headers["Access-Control-Expose-Headers"]
        assert "Access-Control-Allow-Credentials" not in answer.headers
        other = http.get("/v1/runs", headers={**read, "Origin": "https://evil.example"})
        assert "Access-Control-Allow-Origin" not in other.headers
    with pytest.raises(ParameterError, match="not an origin"):
        load_api(cors_origins="example.com/path")


def test_without_the_setting_no_site_may_read_answers(address: str, database: Database) -> None:
    with client(address, keys.add(database, "page", Scope.READ).key) as http:
        answer = http.get("/v1/runs", headers={"Origin": "https://a.example"})
        assert "Access-Control-Allow-Origin" not in answer.headers
