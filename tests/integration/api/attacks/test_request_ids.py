"""Ids of requests, and the lines of the log: hostile ones are replaced, and no line can be forged."""

from __future__ import annotations

import json
import logging
import re
import time

import pytest

from producer.api.core.logs import LineFormatter
from producer.api.core.request_log import HEADER
from schema.database import act_as
from tests.integration.api.attacks.conftest import Attacked, head
from tests.serving import client

GENERATED = re.compile(r"req_[0-9a-f]{16}")
HOSTILE = ["", "a" * 65, "two words", "a\tb", "<script>", "a=b", "\u00e9", "a,b", '"']


def test_a_plain_id_comes_back_and_a_hostile_one_is_replaced(attacked: Attacked) -> None:
    with client(attacked.address, attacked.key) as http:
        for path in ("/v1/runs", "/v1/runs/999", "/nowhere", "/healthz", "/", "/v1/runs?limit=x"):
            answer = http.get(path, headers={HEADER: "trace-1.a:b_C"})
            assert answer.headers[HEADER] == "trace-1.a:b_C", path
        seen = set()
        for given in HOSTILE:
            answer = http.get("/v1/runs", headers={HEADER: given.encode()})
            assert GENERATED.fullmatch(answer.headers[HEADER]), given
            seen.add(answer.headers[HEADER])
        assert len(seen) == len(HOSTILE)
    refused = attacked.exchange(head("POST", "/v1/runs", f"{HEADER}: abc", "Content-Length: 9"))
    assert b" 401 " in refused
    assert b"x-request-id: abc" in refused.lower()


def _gets(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """Return the lines of GET requests: one of an earlier test's POST may still be written."""
    return [record for record in caplog.records if record.getMessage().startswith("GET")]


def test_each_request_is_one_line_and_health_checks_are_quiet(
    attacked: Attacked, caplog: pytest.LogCaptureFixture
) -> None:
    with client(attacked.address, attacked.key) as http, caplog.at_level(logging.INFO, "annealq.api"):
        for path in ("/healthz", "/metrics", "/v1/runs?state=done", "/v1/runs/999", "/%0a%1b[31mforged"):
            http.get(path)
        while len(records := _gets(caplog)) < 3:  # a line is written after its answer
            time.sleep(0.01)
    lines = [LineFormatter(as_json=False).format(record) for record in records]
    assert len(lines) == 3
    assert all("\n" not in line and "\x1b" not in line for line in lines)
    assert "GET /v1/runs  status=200  ms=" in lines[0]
    assert "owner=admin" in lines[0]
    assert "client=127.0.0.1" in lines[0]
    assert attacked.key not in "".join(lines)
    assert "status=404" in lines[1]
    assert "forged" in lines[2]


def test_lines_have_the_id_of_their_request_as_text_and_as_json() -> None:
    record = logging.LogRecord("annealq.api", logging.WARNING, "", 0, "%s\nforged", ("a b",), None)
    record.values = {"path": 'x "y"', "status": 200}
    with act_as(request_id="req_1"):
        text, as_json = (LineFormatter(as_json=kind).format(record) for kind in (False, True))
    assert text.endswith('[warning] a b?forged  path="x \\"y\\""  status=200  request_id=req_1')
    values = json.loads(as_json)
    assert values.pop("timestamp").endswith("Z")
    assert values == {
        "event": "a b\nforged",
        "path": 'x "y"',
        "status": 200,
        "request_id": "req_1",
        "level": "warning",
    }
