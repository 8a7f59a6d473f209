"""Ctrl-C at a real terminal says what continues, and asks whether to cancel it."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import psutil
import pytest

import migrations
from producer.networks.choose import choose_network
from producer.runs.enqueue import enqueue_run
from schema.database import Database
from schema.parameters import Parameters, Solver
from schema.shapes import ImageShape
from schema.states import RunState
from schema.tables import Network, Run
from tests import PATIENCE_S
from tests.conftest import ROOT
from tests.integration.conftest import network_row, some_images

CONTINUES = "run 1 continues: `annealq runs watch 1`; `annealq runs cancel 1` cancels it"
_LIMIT_S = PATIENCE_S


class Terminal:
    """A command at a terminal of its own."""

    def __init__(self, *arguments: str) -> None:
        self._master, slave = pty.openpty()
        command = [sys.executable, "-m", "producer.cli", *arguments]
        # A session of its own, so that Ctrl-C reaches it as from a keyboard.
        # A process in the background of a shell ignores Ctrl-C, and so would its children.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            self.process = subprocess.Popen(
                ["setsid", "--ctty", "--wait", *command], stdin=slave, stdout=slave, stderr=slave, cwd=ROOT
            )
        finally:
            signal.signal(signal.SIGINT, before)
        # It stays open, so that the settings of the terminal can be read when the command has ended.
        self._slave, self._settings = slave, termios.tcgetattr(slave)
        self.text = ""

    def wait_for(self, text: str) -> None:
        deadline = time.monotonic() + _LIMIT_S
        while text not in self.text:
            assert time.monotonic() < deadline, self.text
            if select.select([self._master], [], [], 0.1)[0]:
                self.text += os.read(self._master, 65_536).decode(errors="replace")

    def press_until(self, keys: str, text: str) -> None:
        """Press ``keys`` until ``text`` appears.

        Python loses a Ctrl-C that comes in the instant before it waits for a line, which no person meets.
        """
        deadline = time.monotonic() + _LIMIT_S
        while text not in self.text:
            assert time.monotonic() < deadline, self.text
            self.press(keys)
            if select.select([self._master], [], [], 1.0)[0]:
                time.sleep(0.5)  # the rest of what it writes
                self.text += os.read(self._master, 65_536).decode(errors="replace")

    def press(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def ended(self) -> int:
        """Return the exit code, once the command has ended; its terminal is as it was before."""
        code = self.process.wait(_LIMIT_S)
        assert termios.tcgetattr(self._slave) == self._settings
        assert self.text.count("\x1b[?25l") <= self.text.count("\x1b[?25h"), "the cursor is hidden"
        assert "Traceback" not in self.text
        return code

    def close(self) -> None:
        self.process.kill()
        self.process.wait(_LIMIT_S)
        os.close(self._master)
        os.close(self._slave)


@pytest.mark.parametrize(
    ("answer", "says", "state"),
    [
        ("y\n", "run 1 is cancelled; what is scored stays", RunState.CANCELLED),
        (
            "\n",
            CONTINUES,
            RunState.QUEUED,
        ),
        (
            "\x03",
            CONTINUES,
            RunState.QUEUED,
        ),
    ],
)
def test_ctrl_c_asks_whether_to_cancel_a_run(
    answer: str, says: str, state: RunState, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path / 'annealq.db'}"
    monkeypatch.setenv("ANNEALQ_DATABASE_URL", url)
    monkeypatch.setenv("COLUMNS", "200")
    migrations.upgrade(url)
    database = Database(url)
    with database.transaction() as session:
        session.add(Network(**network_row()))
        session.flush()
        network = choose_network(session, "digits", ImageShape.image(8, 8))
    assert enqueue_run(database, some_images(20), network, Solver.LOCAL, Parameters()).id == 1
    terminal = Terminal("runs", "watch", "1")
    try:
        terminal.wait_for("run 1 sampled")
        terminal.press("\x03")
        terminal.wait_for("cancel run 1? [y/N]: ")
        terminal.press_until(answer, says)
        assert terminal.ended() == 130
        with database.reading() as session:
            assert session.get_one(Run, 1).state is state
    finally:
        terminal.close()
        database.dispose()


def _environment(process: psutil.Process) -> list[str]:
    """Return the values of the environment of another process."""
    try:
        return [] if process.pid == os.getpid() else list(process.environ().values())
    except psutil.Error:
        return []


def test_ctrl_c_ends_a_stack_with_all_of_its_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = str(tmp_path / "home")
    monkeypatch.setenv("ANNEALQ_HOME", home)
    for name in ("ANNEALQ_DATABASE_URL", "ANNEALQ_BROKER_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "300")
    terminal = Terminal("up", "--workers", "1")
    try:
        terminal.wait_for("annealq is up")
        # At once: its processes are being started.
        terminal.press("\x03")
        terminal.wait_for("stopped; queued work continues with the next `annealq up`")
        assert terminal.ended() == 0
        left = [process for process in psutil.process_iter() if home in _environment(process)]
        assert left == []
    finally:
        terminal.close()
