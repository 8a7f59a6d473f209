"""A process that imports the worker's libraries once, and forks programs of `worker.tools`."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

_MODULE = "worker.tools.forkserver"
_NAME_BYTES = 64  # of a request, as the module reads it


@dataclass(frozen=True, eq=False)
class ForkedProgram:
    """A program that a `ForkServer` has forked, as a `subprocess.Popen`."""

    stdout: IO[str]
    _status: socket.socket

    def kill(self) -> None:
        """Kill it at once; nothing happens if it has ended."""
        with suppress(OSError):
            self._status.shutdown(socket.SHUT_WR)

    def wait(self) -> int:
        """Block until it has ended, and return its exit code, minus the number of a signal that killed it."""
        text = b""
        while not text.endswith(b"\n"):
            if not (part := self._status.recv(16)):
                return 1  # the server itself was killed
            text += part
        return int(text)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.stdout.close()
        self.wait()
        self._status.close()


class ForkServer:
    """Starts the process with the first program, and again if it has died. Safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._requests: socket.socket | None = None

    def fork(
        self,
        module: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        stdin: IO[str],
        stderr: IO[str],
    ) -> ForkedProgram:
        """Fork a process that runs the ``main`` of ``module`` in this process's folder.

        Args:
            module: of `worker.tools`.
            arguments: of its command line.
            environment: all its variables.
            stdin: its standard input.
            stderr: its standard error.

        Raises:
            OSError: the server cannot be started.
        """
        request = {"arguments": list(arguments), "folder": str(Path.cwd()), "environment": dict(environment)}
        (output, written), (wanted, told) = os.pipe(), os.pipe()
        status, other = socket.socketpair()
        with ExitStack() as on_failure:
            program = on_failure.enter_context(ForkedProgram(os.fdopen(output), status))
            # A server that has just died closes all ends: the program then ends with exit code 1.
            with suppress(BrokenPipeError), os.fdopen(told, "w") as file:
                with os.fdopen(wanted) as read, os.fdopen(written, "w") as printed, other, self._lock:
                    descriptors = [end.fileno() for end in (read, stdin, printed, stderr, other)]
                    name = module.ljust(_NAME_BYTES).encode()
                    socket.send_fds(self._connection(environment), [name], descriptors)
                json.dump(request, file)
            on_failure.pop_all()
        return program

    def close(self) -> None:
        """End the server and its programs."""
        with self._lock:
            if self._requests is not None:
                self._requests.close()
            if self._process is not None:
                self._process.wait()
            self._requests = self._process = None

    def _connection(self, environment: Mapping[str, str]) -> socket.socket:
        if self._requests is None or self._process is None or self._process.poll() is not None:
            if self._requests is not None:
                self._requests.close()
            self._requests, other = socket.socketpair()
            with other:
                # In a session of its own: this process ends its programs after a terminal's Ctrl-C.
                self._process = subprocess.Popen(
                    [sys.executable, "-m", _MODULE, str(other.fileno())],
                    stdin=subprocess.DEVNULL,
                    env=dict(environment),
                    pass_fds=[other.fileno()],
                    start_new_session=True,
                )
        return self._requests
