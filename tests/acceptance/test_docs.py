"""Runs README.md and docs/ as a reader would: page by page, in a fresh folder with a fresh home."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from tests import documents
from tests.acceptance.reader import Reader, write_samples
from tests.documents import PAGES, ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

# Collects the tests that each command of a list selects; in one process, since imports take seconds.
_COLLECT = """
import json, pytest, sys
codes = [
    int(pytest.main([*words, "--collect-only", "-q", "-p", "no:cacheprovider"]))
    for words in json.loads(sys.argv[1])
]
print()
print(json.dumps(codes))
"""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_block_of_a_page_runs(
    page: Path, tmp_path: Path, digits: tuple[np.ndarray, np.ndarray]
) -> None:
    blocks = documents.blocks(page)
    if all(block.directive == "norun" or block.language in ("text", "mermaid", "json") for block in blocks):
        pytest.skip("nothing on this page runs")
    folder = tmp_path / "folder"
    folder.mkdir()
    write_samples(folder, digits)
    # A page may show a file after the command that uses it.
    for block in blocks:
        if block.directive == "file":
            (folder / block.value).parent.mkdir(parents=True, exist_ok=True)
            (folder / block.value).write_text(block.text)
    reader = Reader(folder, tmp_path / "home")
    with ExitStack() as processes:
        for block in blocks:
            reader.run(block, processes)


def test_each_pytest_command_selects_a_test() -> None:
    texts = {code for page in PAGES for code in documents.inline_code(page) if "pytest " in code}
    commands = [shlex.split(text.partition("pytest ")[2]) for text in sorted(texts)]
    done = subprocess.run(
        [sys.executable, "-c", _COLLECT, json.dumps(commands)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    codes = json.loads(done.stdout.splitlines()[-1])
    nothing = [command for command, code in zip(commands, codes, strict=True) if code]
    assert commands
    assert not nothing, "these commands select no test"
