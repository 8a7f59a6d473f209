"""Hostile images are refused by name, with exit code 2, in little memory, and nothing is written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.integration.images.hostile import make

ROOM_BYTES = 160 * 2**20  # far below what the bombs hold (200 MB) or could make us take

# One process for all of them: whatever stays behind from one must not add up either.
CLASSIFY = f"""
import json, resource, sys
from typer.testing import CliRunner
from producer.cli import app
from schema.errors import ImageError
import producer.images.source, producer.commands.shared.submission, producer.calibration.enqueue  # noqa
import pyarrow.parquet  # noqa
from PIL import Image; Image.init()
pages = int(open("/proc/self/statm").read().split()[0])
limit = pages * resource.getpagesize() + {ROOM_BYTES}
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
said = {{}}
for path in json.load(sys.stdin):
    done = CliRunner().invoke(app, ["classify", path])
    error = done.exception
    code = getattr(error, "exit_code", done.exit_code)
    said[path] = [code, isinstance(error, ImageError), str(error)]
print(json.dumps(said))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads its size from /proc")
def test_hostile_images_are_refused_in_little_memory(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="needs annealq[parquet]")
    for name in ("given", "outside", "home"):
        (tmp_path / name).mkdir()
    expected = make(tmp_path / "given", tmp_path / "outside")
    home = tmp_path / "home" / "annealq"
    done = subprocess.run(
        [sys.executable, "-c", CLASSIFY],
        input=json.dumps(list(expected)),
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
        cwd=ROOT,
        env={
            **os.environ,
            "ANNEALQ_HOME": str(home),
            "OPENBLAS_NUM_THREADS": "1",
            "ARROW_DEFAULT_MEMORY_POOL": "system",
        },
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    wrong = {
        path: said[path]
        for path, words in expected.items()
        if said[path][:2] != [2, True] or words not in said[path][2] or "\n" in said[path][2]
    }
    assert wrong == {}
    assert not home.exists()
    assert not (tmp_path / "outside" / "sprung").exists()
