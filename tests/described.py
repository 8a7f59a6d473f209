"""Compares answers of the API with /openapi.json: their status, their media type and their body."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import httpx
import jsonschema_rs

from producer.api.app import build
from producer.api.core.service import Service
from schema.settings import load, load_api


@cache
def description() -> dict[str, Any]:
    """The content of /openapi.json; no database is opened for it."""
    service = Service.build(load(database_url="sqlite:///absent.db"), load_api())
    return build(service).openapi()


def check(answer: httpx.Response) -> None:
    """Fail if an answer is not one of those that are described; paths of pages are passed over."""
    path, method = answer.request.url.path, answer.request.method.lower()
    operation = operation_of(path, "get" if method == "head" else method)
    if operation is None:
        return
    where = f"{answer.request.method} {path}: {answer.status_code}"
    described = operation["responses"].get(str(answer.status_code))
    assert described is not None, f"{where} is not described"
    reference = described.get("$ref", "")
    if reference:
        described = description()["components"]["responses"][reference.rpartition("/")[2]]
    kind = answer.headers.get("content-type", "").partition(";")[0]
    if method == "head" or not described.get("content"):
        assert method == "head" or answer.read() == b"", f"{where} has a body"
        return
    assert kind in described["content"], f"{where} has content {kind!r}, not {list(described['content'])}"
    if kind.endswith("json"):
        answer.read()
        validate(described["content"][kind]["schema"], answer.json(), where)


def validate(schema: dict[str, Any], value: object, where: str) -> None:
    """Fail if a value does not fit a schema of the description."""
    validator = jsonschema_rs.validator_for({**schema, "components": description()["components"]})
    errors = [
        f"{where}: {'.'.join(map(str, e.instance_path))}: {e.message}" for e in validator.iter_errors(value)
    ]
    assert errors == []


def operation_of(path: str, method: str) -> dict[str, Any] | None:
    """The described operation of a path and a method, if there is one; the most literal path goes first."""
    paths = description()["paths"]
    for template in sorted(paths, key=lambda template: template.count("{")):
        pattern = re.sub(r"\\{\w+\\}", "[^/]+", re.escape(template))
        if re.fullmatch(pattern, path) and method in paths[template]:
            return dict(paths[template][method])
    return None
