"""What a person meets first: a home with nothing in it, and a setting that is wrong."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from producer.cli import app
from schema.errors import BrokerUnavailable, DatabaseOutdated
from tests.conftest import annealq_process
from tests.integration.commands.test_hostile import COMMANDS

_SHOW = [name for name in COMMANDS if name.endswith((" list", " chips")) or name == "plan"]


_MORE = [
    *("runs show 1", "networks show digits", "runs report 1", "runs bundle 1 -o x.zip"),
    *("runs samples 1 --image 1", "embeddings export 1", "embeddings twin 1 -o x.npz"),
]


@pytest.mark.parametrize("command", [*_SHOW, *_MORE])
def test_an_empty_home_says_how_to_start(command: str) -> None:
    done = CliRunner().invoke(app, command.split())
    assert isinstance(done.exception, DatabaseOutdated)
    assert re.search(r"nothing here yet.*: start with `annealq demo`", str(done.exception))
    assert not list(Path(os.environ["ANNEALQ_HOME"]).iterdir())


def test_layers_are_written_and_trained_in_an_empty_home(tmp_path: Path) -> None:
    """Neither needs a database: `networks train --embedded` makes one."""
    images, labels = np.zeros((20, 8, 8), np.uint8), np.arange(20) % 2
    np.savez(tmp_path / "images.npz", images=images, labels=labels)
    data, layers = ("--data", str(tmp_path / "images.npz")), tmp_path / "layers.toml"
    done = CliRunner().invoke(app, ["networks", "new", *data, "-o", str(layers)])
    assert (done.exit_code, layers.exists()) == (0, True), done.output
    assert not list(Path(os.environ["ANNEALQ_HOME"]).iterdir())
    done = CliRunner().invoke(app, ["networks", "train", *data])
    assert isinstance(done.exception, BrokerUnavailable)  # the stack is missing, not the database


def test_a_wrong_setting_of_the_emulator_ends_a_stack_with_one_line() -> None:
    pytest.importorskip("dimod", reason="an emulator needs the emulator extra")
    done = annealq_process("up", "--emulator", env={"ANNEALQ_EMULATOR_CHIPS": "foo"})
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == 1
    assert "cannot start: unknown chip 'foo'; available: " in line
    assert "Traceback" not in done.stderr
    assert "starting it again" not in done.stderr
