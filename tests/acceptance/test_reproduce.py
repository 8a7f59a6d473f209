"""Runs `annealq reproduce` through the real queue: for the first time, again, and without its data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import annealq


def table1(home: Path) -> dict[str, Any]:
    # One thread: a network this small only loses by more of them.
    env = {"ANNEALQ_HOME": str(home), "ANNEALQ_WORKER_TRAINING_THREADS": "1"}
    done = annealq("reproduce", "table1", "--quick", "--embedded", "--json", env=env)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_table_1(tmp_path: Path) -> None:
    first = table1(tmp_path / "home")
    assert first["published"]["right"] == 5
    energy, paper = first["ours"]["energy"], first["ours"]["paper"]
    assert energy["table"]["right"] == 5
    assert energy["table"]["lowest_right"] >= 95
    assert energy["table"]["runner_up"] <= 5
    assert energy["whole"]["images"] == paper["whole"]["images"] == 125
    assert energy["whole"]["accuracy"] >= 0.9
    assert paper["own_accuracy"] >= 0.9
    assert np.shape(paper["table"]["scores"]) == (5, 5)
    assert table1(tmp_path / "home") == first  # the same runs, nothing done again


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("table1", "--data", "digits"), "leave out --data"),
        (("table2",), "--data mnist_test.npz"),
        (("conv358",), "--data"),
        (("table3",), "table3"),
    ],
)
def test_what_does_not_fit_is_said_before_anything_starts(arguments: tuple[str, ...], says: str) -> None:
    done = annealq("reproduce", *arguments)
    assert done.returncode == 2
    assert says in done.stderr


def test_a_missing_network_names_the_command_that_trains_it(tmp_path: Path) -> None:
    images = np.zeros((10, 28, 28), np.uint8)
    images[:, 0, 0] = np.arange(10)
    np.savez(tmp_path / "test.npz", images=images, labels=np.arange(10))
    env = {"ANNEALQ_HOME": str(tmp_path / "home")}
    done = annealq("reproduce", "table2", "--data", str(tmp_path / "test.npz"), "--embedded", env=env)
    assert done.returncode == 2
    assert "annealq networks train mnist --transfer paper --data DATA" in done.stderr
