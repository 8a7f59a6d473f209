"""Standard output that is closed, full, or takes only ASCII: one line and an exit code, never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import migrations
from tests import PATIENCE_S

ASCII = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"}
HELP = "annealq emulator --help"


@pytest.mark.parametrize(
    ("line", "code", "says"),
    [
        ("annealq keys add 日本", 2, "日本"),
        (r"annealq networks show $'caf\xff'", 2, "caf"),
        ("annealq networks new --data /nowhere/Größe.npz", 2, "e.npz"),
        (f"{HELP} >&-", 0, ""),
        (f"{HELP} 2>&-", 0, ""),
        ("annealq runs show 1 2>&-", 1, ""),
        (f"{HELP} > /dev/full", 1, "disk full: standard output"),
        (f"{HELP} | true", 0, ""),
    ],
)
def test_output_is_never_a_traceback(line: str, code: int, says: str, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/annealq.db"
    migrations.upgrade(url)
    command = f'annealq() {{ {sys.executable} -m producer.cli "$@"; }}; {line}'
    env = {**os.environ, **ASCII, "ANNEALQ_DATABASE_URL": url}
    done = subprocess.run(
        ["bash", "-c", command], check=False, capture_output=True, env=env, timeout=PATIENCE_S
    )
    text = done.stderr.decode("utf-8", errors="replace")
    assert done.returncode == code, text
    assert "Traceback" not in text
    assert "Exception ignored" not in text
    assert "defect" not in text
    assert says in text
