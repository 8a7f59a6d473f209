"""Uses solvers with qubits from the command line: the emulator in a local stack."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.conftest import annealq

COMMAND = ("classify", "digits", "--limit", "20", "--network", "digits", "--solver", "emulator", "--visible")
RUN = (*COMMAND, "folded", "--tiles", "8", "--reads", "50", "--embedded")


def show(*arguments: str) -> Any:
    done = annealq(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_what_a_dry_run_says_is_what_is_charged(home: Path, tmp_path: Path) -> None:
    plan = show(*RUN, "--dry-run")
    assert (plan["problems"], plan["tiles"], plan["found"]) == (3, 8, False)
    assert show("runs", "list") == []
    run = show(*RUN)
    figures = run["statistics"]
    assert run["state"] == "done"
    assert run["accuracy"] >= 0.9
    assert figures["problems_sent"] == plan["problems"]
    assert figures["qpu_access_time_us"] == pytest.approx(plan["qpu_us"], abs=1)
    assert (figures["embedding_hits"], figures["embedding_misses"]) == (1, 0)
    assert figures["embedding_seconds_saved"] == pytest.approx(plan["search_s"])
    (embedding,) = show("embeddings", "list")
    assert embedding["tiles"] == 8
    number = str(embedding["embedding_id"])
    for name, options in (("chip.png", ()), ("tile.png", ("--tile", "2"))):
        done = annealq("embeddings", "show", number, "--plot", str(tmp_path / name), *options)
        assert done.returncode == 0, done.stderr
        with Image.open(tmp_path / name) as picture:
            assert min(picture.size) > 500
            assert len(picture.convert("RGB").getcolors(1 << 24) or []) > 20
    annealq("embeddings", "prune", "--all-unused")
    assert len(show("embeddings", "list")) == 1  # its samples are there


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--solver", "emulator", "--sweeps", "10"), "sweeps"),
        (("--solver", "local", "--tiles", "3"), "tiles"),
        (("--solver", "emulator", "--chain-strength", "-1"), "chain strength"),
        (("--solver", "emulator", "--anneal-schedule", "[[0, 0]]"), "anneal schedule"),
    ],
)
def test_options_that_a_solver_does_not_have_are_refused(
    home: Path, options: tuple[str, ...], words: str
) -> None:
    done = annealq("classify", "digits", "--limit", "3", "--network", "digits", *options)
    assert done.returncode == 2
    assert words in done.stderr


def test_without_an_emulator_the_way_out_is_told(home: Path) -> None:
    command = [part for part in RUN if part not in ("--embedded", "emulator", "--solver")]
    done = annealq(*command, "--solver", "dwave", "--embedded", env={"DWAVE_API_TOKEN": ""})
    assert done.returncode == 2  # refused before anything is enqueued
    assert "DWAVE_API_TOKEN" in done.stderr + done.stdout
