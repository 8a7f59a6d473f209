"""Valid and invalid requests that schemathesis generates from /openapi.json: all answers are as described."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from producer.api.keys import keys
from producer.api.keys.keys import Scope
from producer.networks.chosen import ChosenNetwork
from schema.database import Database
from tests.integration.api.conftest import npz, send

# That a request fits its schema does not say that its images, names and times can be used: 422. Streams of
# events do not end, and without a broker /readyz answers 503. A wrong key is tried too often: 429; callers
# without a valid key are the subject of attacks/test_routes.py.
# Invalid forms of this operation end its fuzzing by an error of schemathesis itself, whose validator knows
# no binary values; the phase `coverage` has invalid ones of it.
_CONFIG = """
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "3xx", 403, 404, 409, 415, 422]

[[operations]]
include-name = "POST /v1/networks"
phases.fuzzing.generation.mode = "positive"
"""
_RUN = "import sys; from schemathesis.cli import schemathesis; sys.exit(schemathesis())"


@pytest.mark.slow
def test_schemathesis_finds_nothing(
    address: str, http: httpx.Client, database: Database, network: ChosenNetwork, tmp_path: Path
) -> None:
    for seed in range(3):
        send(http, npz(3, seed=seed))
    key = keys.add(database, "schemathesis", Scope.ADMIN).key
    (tmp_path / "schemathesis.toml").write_text(_CONFIG)
    options = ["--header", f"Authorization: Bearer {key}", "--exclude-checks", "ignored_auth"]
    options += ["--phases", "examples,coverage,fuzzing", "--max-examples", "20", "--seed", "2"]
    options += ["--exclude-path-regex", "events|readyz", "--request-timeout", "20", "--no-color"]
    done = subprocess.run(
        [sys.executable, "-c", _RUN, "run", f"{address}/openapi.json", *options],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-10_000:] + done.stderr[-2_000:]
    tested = re.search(r"Tested: (\d+)", done.stdout)
    assert tested is not None
    assert int(tested[1]) >= 40  # operations
