"""`annealq emulator` passes on its options; the emulator of a stack shares a token with its home."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from producer.cli import app
from producer.stack import lock
from producer.stack.emulator import Emulator, running_environment
from producer.stack.home import emulator_folder
from schema.errors import StackError
from schema.settings import load
from worker.emulator.qpu.sampling import Sampling
from worker.emulator.service.options import EmulatorOptions, parse
from worker.emulator.service.queue import QpuClock


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
    assert parse(command[3:]) == EmulatorOptions()


def test_every_option_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    options = (
        "--host=::1", "--port=0", "--solver=all", "--graph-seed=3", "--clock=scaled:2", "--samples=instant",
        "--beta=2", "--errors=advantage,chi=-0.01", "--chip=advantage2-system4", "--sweeps=7", "--seed=9",
        "--threads=2", "--state=kept", "--keep=5", "--max-age=60", "--raw-occurrences", "--max-queued=7",
        "--gate-solver", "--fault=target=poll,kind=delay",
    )  # fmt: skip
    parsed = parse(_command(monkeypatch, *options)[0][3:])
    assert (parsed.host, parsed.port, parsed.solvers, parsed.graph_seed) == ("::1", 0, ("all",), 3)
    assert (parsed.chips, parsed.errors) == (("advantage2-system4",), "advantage,chi=-0.01")
    assert (parsed.clock, parsed.sampling) == (QpuClock(2.0), Sampling("instant", 2.0, 7, 9))
    assert (parsed.threads, str(parsed.state), parsed.keep, parsed.max_age_s) == (2, "kept", 5, 60)
    assert parsed.raw_occurrences
    assert (parsed.max_queued, parsed.gate_solver) == (7, True)
    assert [str(fault.kind) for fault in parsed.faults] == ["delay"]


def test_the_token_is_not_on_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    command, environment = _command(monkeypatch, "--token=secret")
    assert "secret" not in " ".join(command)
    assert environment["ANNEALQ_EMULATOR_TOKEN"] == "secret"


def test_a_stack_names_the_chips_of_its_emulator(tmp_path: Path) -> None:
    chips = load(home=tmp_path, emulator_chips="advantage-system6, b=advantage-system6").emulator_chips
    command = Emulator.choose(tmp_path, chips).child(tmp_path).command
    assert command[-2:] == ["--chip=advantage-system6", "--chip=b=advantage-system6"]
    assert "--chip" not in " ".join(Emulator.choose(tmp_path).child(tmp_path).command)


def test_the_token_of_a_home_stays_and_is_its_users_alone(tmp_path: Path) -> None:
    first, again = Emulator.choose(tmp_path), Emulator.choose(tmp_path)
    assert first.token == again.token
    assert Emulator.choose(tmp_path / "another").token != first.token
    token = emulator_folder(tmp_path) / "token"
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert stat.S_IMODE(token.parent.stat().st_mode) == 0o700


def test_whoever_may_read_the_home_reaches_the_emulator_of_its_stack(tmp_path: Path) -> None:
    emulator, settings = Emulator.choose(tmp_path), load(home=tmp_path)
    assert running_environment(settings) == {}
    with lock.hold(tmp_path, emulator.url):
        assert running_environment(settings) == emulator.environment()
        assert running_environment(load(home=tmp_path, emulator_url="http://elsewhere")) == {}
    with lock.hold(tmp_path, None):
        assert running_environment(settings) == {}


def test_a_token_that_cannot_be_stored_is_an_error(tmp_path: Path) -> None:
    (emulator_folder(tmp_path) / "token").mkdir(parents=True)
    with pytest.raises(StackError, match="token cannot be stored"):
        Emulator.choose(tmp_path)
