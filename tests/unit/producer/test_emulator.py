"""`annealq emulator` hands on what it is told."""

from __future__ import annotations

import os
from typing import Any

import pytest
from typer.testing import CliRunner

from producer.cli import app
from worker.emulator.options import Options, parse
from worker.emulator.queue import Clock
from worker.emulator.sampling import Sampling


class Replaced(Exception):
    """The process would now be another program."""


def _command(monkeypatch: pytest.MonkeyPatch, *options: str) -> tuple[list[str], dict[str, str]]:
    def execute(_program: str, command: list[str], environment: dict[str, str]) -> Any:
        raise Replaced(command, environment)

    monkeypatch.setattr(os, "execvpe", execute)
    result = CliRunner().invoke(app, ["emulator", *options])
    assert isinstance(result.exception, Replaced), result.output
    command, environment = result.exception.args
    return command, environment


def test_the_defaults_are_those_of_the_emulator(monkeypatch: pytest.MonkeyPatch) -> None:
    command, _ = _command(monkeypatch)
    assert command[1:3] == ["-m", "worker.emulator"]
    assert parse(command[3:]) == Options()


def test_every_option_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    options = (
        "--host=::1", "--port=0", "--solver=all", "--graph-seed=3", "--clock=scaled:2", "--samples=instant",
        "--beta=2", "--noise=0", "--sweeps=7", "--seed=9", "--threads=2", "--state=kept", "--keep=5",
        "--max-age=60", "--raw-occurrences", "--fault=target=poll,kind=delay",
    )  # fmt: skip
    parsed = parse(_command(monkeypatch, *options)[0][3:])
    assert (parsed.host, parsed.port, parsed.solvers, parsed.graph_seed) == ("::1", 0, ("all",), 3)
    assert (parsed.clock, parsed.sampling) == (Clock(2.0), Sampling("instant", 2.0, 0.0, 7, 9))
    assert (parsed.threads, str(parsed.state), parsed.keep, parsed.max_age_s) == (2, "kept", 5, 60)
    assert parsed.raw_occurrences
    assert [str(fault.kind) for fault in parsed.faults] == ["delay"]


def test_the_token_is_not_on_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    command, environment = _command(monkeypatch, "--token=secret")
    assert "secret" not in " ".join(command)
    assert environment["ANNEALQ_EMULATOR_TOKEN"] == "secret"
