"""D-Wave's token, from the environment or dwave.conf, is stored nowhere after real runs and failures.

No other user can read the files of a stack, whatever the umask.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import select

from schema.database import Database
from schema.settings import socket_path
from schema.tables import Base
from tests.acceptance.conftest import QUICK, Up, running_stack, wait_for
from tests.conftest import annealq_process
from tests.emulators import Emulator

FROM_ENVIRONMENT = "SECRET-environment-7f3b9c1d5e"
FROM_FILE = "SECRET-file-a48e02c6b9"
SECRETS = (FROM_ENVIRONMENT, FROM_FILE)
TINY = ("--solver=tiny=pegasus:6:6:10", f"--token={FROM_ENVIRONMENT}")
FIND = ("embeddings", "find", "digits", "--solver", "dwave", "--visible", "folded")
CLASSIFY = (
    *("classify", "digits", "--limit", "6", "--network", "digits", "--solver", "dwave", "--visible"),
    *("folded", "--tiles", "2", "--reads", "10", "--qpu", "tiny", "--json"),
)


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home that is not there yet, under a umask that hides nothing, and a configuration of D-Wave's."""
    for name, value in {**QUICK, "ANNEALQ_WORKER_MAX_ATTEMPTS": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("ANNEALQ_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.slow
def test_the_token_is_found_nowhere(
    fresh: Path, umask: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    with Emulator(*TINY) as emulator:
        monkeypatch.setenv("DWAVE_API_ENDPOINT", emulator.endpoint)
        monkeypatch.setenv("DWAVE_CONFIG_FILE", str(tmp_path / "dwave.conf"))
        (tmp_path / "dwave.conf").write_text(f"[defaults]\ntoken = {FROM_FILE}\n")
        said += run(
            *FIND, "--qpu", "tiny", "--embedded", "--workers", "1", code=1, words="does not accept the token"
        )
        monkeypatch.setenv("DWAVE_API_TOKEN", FROM_ENVIRONMENT)
        with running_stack(fresh, "--workers", "1") as up:
            said += run(*CLASSIFY, code=0, words='"state": "done"')
            said += run("runs", "show", "1", "--scores", code=0, words="dwave")
            said += run(*FIND, "--qpu", "nonesuch", code=1, words="nonesuch")
            said += run("doctor", "--solver", "dwave", "--json", code=0, words='"ok": true')
            emulator.session.headers["X-Auth-Token"] = FROM_ENVIRONMENT
            emulator.break_down(offline=["tiny"])
            asked_anew = '{"name": "tiny"}'  # else a worker keeps its connection
            said += run(*CLASSIFY, "--detach", "--qpu", asked_anew, code=0, words='"run_id": 2')
            wait_for(lambda: bool(cells_with(("is offline",), fresh)), "a worker to meet it offline", 60)
            lines = command_lines(up)
            assert_private(fresh)
            found = files_with(SECRETS, fresh)
    assert any("worker.celery" in line for line in lines)
    for secret in SECRETS:
        assert not [text for text in (*said, *lines) if secret in text]
    assert found == files_with(SECRETS, fresh) == {}
    assert cells_with(SECRETS, fresh) == []


def run(*arguments: str, code: int, words: str) -> tuple[str, str]:
    """All that a command prints; it must end with this code and say so."""
    done = annealq_process(*arguments, timeout=200)
    assert done.returncode == code, done.stderr
    assert words in done.stdout + done.stderr
    return done.stdout, done.stderr


def command_lines(up: Up) -> list[str]:
    """Those of a stack and of everything that it has started."""
    owner = psutil.Process(up.owner.pid)
    return [" ".join(one.cmdline()) for one in (owner, *owner.children(recursive=True))]


def files_with(secrets: tuple[str, ...], home: Path) -> dict[str, str]:
    """The files below a home, logs, broker and database among them, that hold one of these."""
    return {
        str(path): secret
        for path in home.rglob("*")
        if path.is_file()
        for secret in secrets
        if secret.encode() in path.read_bytes()
    }


def cells_with(secrets: tuple[str, ...], home: Path) -> list[str]:
    database = Database(f"sqlite:///{home / 'annealq.db'}")
    found = []
    with database.reading() as session:
        for name, table in Base.metadata.tables.items():
            rows: Any = session.execute(select(table)).all()
            found += [name for row in rows for secret in secrets if secret in repr(tuple(row))]
    database.dispose()
    return found


def assert_private(home: Path) -> None:
    """Only this user gets at a home's files and folders, and at the broker's socket."""
    open_to_others = {
        str(path): oct(stat.S_IMODE(path.lstat().st_mode))
        for path in (home, *home.rglob("*"))
        if stat.S_IMODE(path.lstat().st_mode) & 0o077 and path.name != "up.log"  # the test's own
    }
    assert open_to_others == {}
    socket = socket_path(home)
    assert stat.S_ISSOCK(socket.stat().st_mode)
    assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700
    assert socket.stat().st_uid == socket.parent.stat().st_uid == os.geteuid()
