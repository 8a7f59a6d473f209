"""The emulator of an embedded stack: a solver with qubits on this machine, for the stack's workers alone."""

from __future__ import annotations

import http.client
import secrets
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from producer.home import emulator_folder
from producer.process import Child
from schema.errors import StackError

NAME = "emulator"
READY_S = 60.0  # it draws whole chips first
_HOST = "127.0.0.1"
_PATH = "/sapi/v2/"
_PAUSE_S = 0.02
_TOKEN_BYTES = 24


@dataclass(frozen=True)
class Emulator:
    """Where it listens, and the token that it shares with the workers: made anew for each stack."""

    port: int
    token: str = field(repr=False)

    @classmethod
    def choose(cls) -> Emulator:
        """A port that is free now.

        Raises:
            StackError: there is none.
        """
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
                probe.bind((_HOST, 0))
                port = int(probe.getsockname()[1])
        except OSError as error:
            raise StackError(f"no port of {_HOST} is free for the emulator: {error.strerror}") from error
        return cls(port, secrets.token_urlsafe(_TOKEN_BYTES))

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
