"""The emulator of an embedded stack: a solver with qubits on this machine, for this user alone."""

from __future__ import annotations

import http.client
import os
import secrets
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from producer.stack import lock
from producer.stack.home import emulator_folder, make_private
from producer.stack.process import Child
from schema.errors import StackError
from schema.settings import Settings

NAME = "emulator"
READY_S = 60.0  # it draws whole chips first
_HOST = "127.0.0.1"
_PATH = "/sapi/v2/"
_PAUSE_S = 0.02
_TOKEN_BYTES = 24


@dataclass(frozen=True)
class Emulator:
    """Where it listens, and the token that it shares with the workers.

    The token is the home's own, and stays: the emulator lists a problem for the token that it came with, and
    one that an earlier stack left behind must be found.
    """

    port: int
    token: str = field(repr=False)

    @classmethod
    def choose(cls, home: Path) -> Emulator:
        """A port that is free now, and the token of this home.

        Raises:
            StackError: there is no free port, or the token cannot be kept.
        """
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
                probe.bind((_HOST, 0))
                port = int(probe.getsockname()[1])
        except OSError as error:
            raise StackError(f"no port of {_HOST} is free for the emulator: {error.strerror}") from error
        return cls(port, _token(home))

    @property
    def url(self) -> str:
        """Its endpoint, as D-Wave's client takes it."""
        return f"http://{_HOST}:{self.port}{_PATH}"

    def environment(self) -> dict[str, str]:
        """How workers and the emulator itself are told; a command line could be read by everybody."""
        return {"ANNEALQ_EMULATOR_URL": self.url, "ANNEALQ_EMULATOR_TOKEN": self.token}

    def child(self, home: Path) -> Child:
        """What the supervisor runs; workers need it until their end."""
        state = emulator_folder(home) / "problems.db"
        options = ["--host", _HOST, "--port", str(self.port), "--state", str(state)]
        command = [sys.executable, "-m", "worker.emulator", *options]
        return Child(NAME, command, self.environment(), stops_last=True)

    def wait_until_ready(self, check_alive: Callable[[], None]) -> None:
        """Block until it answers; ``check_alive`` is called in between and raises when it is dead.

        Raises:
            StackError: no answer within 60 s.
        """
        deadline = time.monotonic() + READY_S
        while not self._answers():
            check_alive()
            if time.monotonic() > deadline:
                raise StackError(f"the emulator does not answer at {self.url} after {READY_S:.0f} s")
            time.sleep(_PAUSE_S)

    def _answers(self) -> bool:
        """Whether it answers anything: its socket is open before its chips are drawn."""
        connection = http.client.HTTPConnection(_HOST, self.port, timeout=1.0)
        try:
            connection.request("GET", _PATH)
            connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
        return True


def running_environment(settings: Settings) -> dict[str, str]:
    """How a child process reaches the emulator of the stack that runs on this home, where one does.

    Nothing where the settings name an emulator, or none runs. Raises StackError as `lock.owner` does.
    """
    owner = lock.read_owner(settings.home)
    if settings.emulator_url or owner is None or owner.emulator is None:
        return {}
    return {"ANNEALQ_EMULATOR_URL": owner.emulator, "ANNEALQ_EMULATOR_TOKEN": _token(settings.home)}


def _token(home: Path) -> str:
    """The home's token; made where there is none, readable for this user alone.

    Raises:
        StackError: it cannot be read or made.
    """
    path = emulator_folder(home) / "token"
    try:
        make_private(path.parent)
        if path.exists() and (held := path.read_text(encoding="ascii").strip()):
            return held
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(token)
    except (OSError, UnicodeError) as error:
        raise StackError(f"the emulator's token cannot be kept in {path}: {error}") from error
    return token
