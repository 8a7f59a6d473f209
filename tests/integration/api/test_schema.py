"""Valid and invalid requests that schemathesis generates from /openapi.json: none breaks the server."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import APIOperation, Case, GenerationMode

from producer.networks.chosen import ChosenNetwork
from tests.integration.api.conftest import npz, refused, send

_EXAMPLES = 40


@pytest.mark.slow
def test_no_request_breaks_the_server(address: str, http: httpx.Client, network: ChosenNetwork) -> None:
    for seed in range(3):
        run = send(http, npz(3, seed=seed)).json()["run_id"]
    http.post(f"/v1/runs/{run}/cancel")
    described = http.get("/openapi.json").json()
    # The events of an unfinished run do not end.
    del described["paths"]["/v1/runs/{run}/events"]
    tried = try_all(described, address, GenerationMode.POSITIVE)
    # Schemathesis cannot generate invalid files; test_images.py does.
    del described["paths"]["/v1/runs"]["post"]["requestBody"]["content"]["multipart/form-data"]
    tried += try_all(described, address, GenerationMode.NEGATIVE)
    assert tried > 200


def try_all(described: dict[str, Any], address: str, mode: GenerationMode) -> int:
    """Send generated requests to every operation, and return their number."""
    operations = [found.ok() for found in schemathesis.openapi.from_dict(described).get_all_operations()]
    if mode is GenerationMode.NEGATIVE:
        operations = [o for o in operations if o.body or o.query or o.path_parameters or o.headers]
    return sum(attempt(operation, address, mode) for operation in operations)


def attempt(operation: APIOperation, address: str, mode: GenerationMode) -> int:
    """Send generated requests to one operation, and return their number."""
    cases = operation.as_strategy(generation_mode=mode)
    sent = 0

    @settings(
        max_examples=_EXAMPLES,
        database=None,
        deadline=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases)
    def check(case: Case) -> None:
        nonlocal sent
        sent += 1
        answer: Any = case.call(base_url=address, timeout=20)
        ready = operation.path == "/readyz" and answer.status_code == 503
        assert answer.status_code < 500 or ready, (case.as_curl_command(), answer.text)
        if 400 <= answer.status_code < 500:
            headers = {"Content-Type": answer.headers["content-type"][0]}
            seen = httpx.Response(answer.status_code, content=answer.content, headers=headers)
            refused(seen, answer.status_code)

    check()
    return sent
