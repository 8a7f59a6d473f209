"""A client that `openapi-python-client` generates from /openapi.json uses the API as other services do."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest

from producer.api.keys import keys
from producer.api.keys.keys import Scope
from producer.networks.chosen import ChosenNetwork
from schema.database import Database
from schema.messages import Message, Task
from tests import PATIENCE_S
from tests.conftest import ROOT
from tests.integration.api.conftest import npz
from tests.integration.conftest import work_off
from worker.context import Context

GENERATOR = shutil.which("openapi-python-client")


@pytest.mark.slow
@pytest.mark.skipif(GENERATOR is None, reason="openapi-python-client is not installed: `pipx install` it")
def test_a_generated_client_uses_the_api(
    address: str, database: Database, context: Context, working: ChosenNetwork, tmp_path: Path
) -> None:
    assert GENERATOR is not None
    key = keys.add(database, "generated", Scope.SUBMIT).key
    described = tmp_path / "openapi.json"
    described.write_bytes(httpx.get(f"{address}/openapi.json", trust_env=False).content)
    (tmp_path / "config.yml").write_text("package_name_override: generated_annealq\npost_hooks: []\n")
    paths = ["--path", str(described), "--config", str(tmp_path / "config.yml"), "--meta", "none"]
    output = tmp_path / "made" / "generated_annealq"
    output.parent.mkdir()
    done = run(GENERATOR, "generate", *paths, "--output-path", str(output), "--fail-on-warning")
    assert "Warning" not in done, done
    (tmp_path / "some.npz").write_bytes(npz(4))
    python = Path(GENERATOR).resolve().parent / "python"
    script = ROOT / "tests" / "integration" / "api" / "generated.py"
    given = [str(python), str(script), str(output.parent), address, key, str(tmp_path / "some.npz")]
    number = json.loads(run(*given, "submit"))
    work_off(context, Message(Task.DISPATCH))
    run(*given, "read", str(number))


def run(*command: str) -> str:
    """Run a command; return what it prints, or fail with it."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
