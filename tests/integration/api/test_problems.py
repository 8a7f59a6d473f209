"""Errors are problem details (RFC 9457), whatever fails and wherever."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from producer.api.core.problems import TITLES
from schema.database import Database
from schema.settings import load_api
from tests.conftest import ROOT
from tests.integration.api.conftest import npz, refused, send
from tests.serving import client, serving

REQUESTS: list[tuple[str, str, dict[str, Any], int, str]] = [
    ("GET", "/v1/runs/5", {}, 404, "not_found"),
    ("GET", "/v1/nothing", {}, 404, "not_found"),
    ("GET", "/nothing", {}, 404, "not_found"),
    ("GET", "/problems/nothing", {}, 404, "not_found"),
    ("PUT", "/v1/runs", {}, 405, "wrong_method"),
    ("GET", "/v1/runs/5/results", {"headers": {"Accept": "image/png"}}, 406, "not_acceptable"),
    ("POST", "/v1/runs", {"content": b"x"}, 415, "unknown_format"),
    ("POST", "/v1/runs", {"json": {"images": []}}, 422, "unusable_images"),
    ("GET", "/v1/runs?limit=0", {}, 422, "unusable_parameter"),
]


@pytest.mark.parametrize(("method", "path", "content", "status", "code"), REQUESTS)
def test_each_error_is_a_problem_with_a_code_and_its_path(
    shared_http: httpx.Client, method: str, path: str, content: dict[str, Any], status: int, code: str
) -> None:
    answer = shared_http.request(method, path, **content)
    refused(answer, status)
    problem = answer.json()
    assert (problem["code"], problem["instance"]) == (code, path.partition("?")[0])
    assert shared_http.get(problem["type"]).json() == {
        "type": problem["type"],
        "code": code,
        "title": problem["title"],
    }


def test_a_body_above_the_limit_is_a_problem(database_url: str, database: Database) -> None:
    with serving(database_url, load_api(max_body_mb=0.001)) as address, client(address) as http:
        answer = send(http, npz(300))
        assert "0.001 MB" in refused(answer, 413)
        assert answer.json()["instance"] == "/v1/runs"


@pytest.mark.parametrize(
    ("request_", "found"),
    [
        (("GET", "/v1/runs?limit=0&state=lost", {}), {("limit", "query"), ("state", "query")}),
        (("GET", "/v1/runs/x", {}), {("run", "path")}),
        (
            ("POST", "/v1/runs", {"json": {"uri": "/x", "reads": 0, "webhook": {"url": ""}, "odd": 1}}),
            {("reads", "body"), ("webhook.url", "body"), ("odd", "body")},
        ),
        (("POST", "/v1/runs/5/resume", {"json": {"budget_s": -1}}), {("budget_s", "body")}),
    ],
)
def test_each_field_that_cannot_be_used_is_named(
    http: httpx.Client, request_: tuple[str, str, dict[str, Any]], found: set[tuple[str, str]]
) -> None:
    method, path, content = request_
    answer = http.request(method, path, **content)
    detail = refused(answer, 422)
    errors = answer.json()["errors"]
    assert {(error["field"], error["location"]) for error in errors} == found
    assert all(error["detail"] in detail for error in errors)


def test_every_kind_of_problem_is_explained(http: httpx.Client) -> None:
    listed = http.get("/problems").json()
    assert [kind["code"] for kind in listed] == list(TITLES)
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    assert [code for code in TITLES if f"| `{code}` |" not in page] == []
