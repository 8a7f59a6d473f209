"""The emulator of a local stack: a solver with qubits on this machine, for this user alone."""

from __future__ import annotations

import http.client
import os
import secrets
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from producer.stack import lock
from producer.stack.home import emulator_folder, make_private
from producer.stack.process import Child, wait_until_ready
from schema.errors import StackError
from schema.settings import Settings

NAME = "emulator"
READY_S = 60.0  # it generates whole chips first
_HOST = "127.0.0.1"
_PATH = "/sapi/v2/"
_TOKEN_BYTES = 24


@dataclass(frozen=True)
class Emulator:
    """The port that it listens on, and the token that it shares with the workers.

    The token belongs to the home and does not change: the emulator lists a problem only for the token that it
    was submitted with, and problems of an earlier stack must be found again. Without ``chips`` it has the
    emulator's own default.
    """

    port: int
    token: str = field(repr=False)
    chips: tuple[str, ...] = ()

    @classmethod
    def choose(cls, home: Path, chips: str = "") -> Emulator:
        """Return an emulator on a port that is free now, with the token of ``home``.

        ``chips`` names its chips, as `Settings.emulator_chips`.

        Raises:
            StackError: no port is free, or the token cannot be stored.
        """
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
                probe.bind((_HOST, 0))
                port = int(probe.getsockname()[1])
        except OSError as error:
            raise StackError(f"the emulator finds no free port on {_HOST}: {error.strerror}") from error
        return cls(port, _token(home), tuple(filter(None, map(str.strip, chips.split(",")))))

    @property
    def url(self) -> str:
        """Return its endpoint, as D-Wave's client expects it."""
        return f"http://{_HOST}:{self.port}{_PATH}"

    def environment(self) -> dict[str, str]:
        """Return the variables of workers and of the emulator; a command line would be public."""
        return {"ANNEALQ_EMULATOR_URL": self.url, "ANNEALQ_EMULATOR_TOKEN": self.token}

    def child(self, home: Path) -> Child:
        """Return the child process that stores its problems in ``home``; it stops after the workers."""
        state = emulator_folder(home) / "problems.db"
        options = ["--host", _HOST, "--port", str(self.port), "--state", str(state)]
        options += [f"--chip={chip}" for chip in self.chips]
        command = [sys.executable, "-m", "worker.emulator", *options]
        return Child(NAME, command, self.environment(), stops_last=True)

    def wait_until_ready(self, check_alive: Callable[[], None]) -> None:
        """Block until it answers; ``check_alive`` is called in between and raises when it is dead.

        Raises:
            StackError: no answer within 60 s.
        """
        wait_until_ready(f"the emulator at {self.url}", self._answers, check_alive, READY_S)

    def _answers(self) -> bool:
        # Its socket is open before its chips are generated: only an answer counts.
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
    """Return the variables with which a child process reaches the emulator of this home's running stack.

    They are empty if ``settings`` name an emulator, or none runs.

    Raises:
        StackError: as `lock.read_owner`.
    """
    owner = lock.read_owner(settings.home)
    if settings.emulator_url or owner is None or owner.emulator is None:
        return {}
    return {"ANNEALQ_EMULATOR_URL": owner.emulator, "ANNEALQ_EMULATOR_TOKEN": _token(settings.home)}


def _token(home: Path) -> str:
    path = emulator_folder(home) / "token"
    try:
        make_private(path.parent)
        if path.exists() and (stored := path.read_text(encoding="ascii").strip()):
            return stored
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(token)
    except (OSError, UnicodeError) as error:
        raise StackError(f"the emulator's token cannot be stored in {path}: {error}") from error
    return token
