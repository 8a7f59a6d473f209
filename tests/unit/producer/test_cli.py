"""The list of commands, which is printed without importing them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from producer import cli


@pytest.mark.parametrize("name", cli.SUMMARIES)
def test_each_command_is_there(name: str) -> None:
    assert cli.load_command(name).help


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
