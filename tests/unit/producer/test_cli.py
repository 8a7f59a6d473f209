"""The list of commands, which is printed without importing them."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from producer import cli
from producer.cli import app
from tests import PATIENCE_S


@pytest.mark.parametrize("name", cli.SUMMARIES)
def test_each_command_is_there(name: str) -> None:
    assert cli.load_command(name).help


def test_ctrl_c_during_the_imports_leaves_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("print('importing', flush=True)\nimport time\ntime.sleep(60)\n")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from producer.__main__ import main; main()"
    # A process in the background of a shell ignores Ctrl-C, and so would its children.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
    finally:
        signal.signal(signal.SIGINT, before)
    assert process.stdout is not None
    assert process.stdout.readline() == "importing\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=PATIENCE_S) == ("", "")
    assert process.returncode == -signal.SIGINT  # a shell says 130


def test_help_imports_no_command_and_no_heavy_library() -> None:
    code = (
        "import sys; sys.argv = ['annealq', '--help']\n"
        "from producer import cli\n"
        "try: cli.main()\n"
        "except SystemExit: pass\n"
        "heavy = {'pydantic', 'numpy', 'sqlalchemy', 'producer.commands.classify'}\n"
        "print('imported', heavy & {*sys.modules})"
    )
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert "classify" in printed
    assert printed.endswith("imported set()\n")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("classify digits --rule foo", "'foo' is not one of 'lowest_energy_mean', "),
        ("classify digits --priority x", "'x' should be a valid integer"),
        ("classify digits --workers 0", "'0' should be greater than or equal to 1"),
        ("runs show abc", "'abc' should be a valid integer"),
        ("runs list --since yesterday", "'yesterday' is not a time: write 2026-12-01 or 2026-12-01T22:00"),
    ],
)
def test_a_wrong_value_is_named_in_plain_words(arguments: str, says: str) -> None:
    done = CliRunner().invoke(app, arguments.split())
    assert done.exit_code == 2
    assert f": {says}" in done.output
