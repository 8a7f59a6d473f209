"""/openapi.json and /docs: complete, stable, and without other sites."""

from __future__ import annotations

import json
import re
from itertools import chain
from typing import Any

import httpx
import pytest

from tests.described import description

OPERATIONS = [
    (path, method, operation)
    for path, operations in description()["paths"].items()
    for method, operation in operations.items()
]
OPEN = {"/healthz", "/readyz", "/problems", "/problems/{code}"}


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS, ids=lambda value: str(value)[:40])
def test_each_operation_is_described_in_full(path: str, method: str, operation: dict[str, Any]) -> None:
    assert operation["summary"]
    assert operation["description"]
    assert operation["tags"]
    assert "default" not in operation["responses"]
    assert operation["security"] == [] if path in OPEN else len(operation["security"]) == 1
    wanted = {"500", "503"} | (set() if path in OPEN else {"401", "403", "429"})
    wanted |= ({"404", "422"} if "{" in path else set()) | (
        {"413", "415"} if "requestBody" in operation else set()
    )
    assert wanted <= operation["responses"].keys()
    succeeded = [
        found for status, found in operation["responses"].items() if status < "300" and status != "204"
    ]
    assert succeeded or "204" in operation["responses"]
    for schema in chain.from_iterable(found["content"].values() for found in succeeded):
        assert schema["schema"], "a body without a schema"


def test_names_of_operations_are_stable_and_unique() -> None:
    names = [operation["operationId"] for _, _, operation in OPERATIONS]
    assert len(set(names)) == len(names)
    assert {"submit_run", "list_runs", "show_run", "cancel_run", "read_results", "list_networks"} <= set(
        names
    )
    assert all(re.fullmatch("[a-z]+(_[a-z]+)*", name) for name in names)


def test_whatever_is_referred_to_is_there_and_whatever_is_there_is_referred_to() -> None:
    text = json.dumps(description())
    for kind, entries in description()["components"].items():
        if kind != "securitySchemes":
            referred = set(re.findall(rf"#/components/{kind}/(\w+)", text))
            assert referred == set(entries), kind


def test_examples_fit_their_schemas() -> None:
    from tests.described import validate

    described = description()["components"]["schemas"]
    with_examples = {name: schema for name, schema in described.items() if "examples" in schema}
    assert len(with_examples) >= 8
    for name, schema in with_examples.items():
        for example in schema["examples"]:
            validate({"$ref": f"#/components/schemas/{name}"}, example, name)


def test_the_page_loads_nothing_from_other_sites(http: httpx.Client) -> None:
    page = http.get("/docs")
    assert page.status_code == 200
    assert "script-src 'self';" in page.headers["content-security-policy"]
    files = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(files) == 3
    for file in files:
        answer = http.get(f"/{file}")
        assert (answer.status_code, "://" in file) == (200, False)
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert "://" not in page.text
    assert http.get("/docs/..%2fpage.py").status_code == 404
    assert http.get("/docs/index.html").status_code == 404
