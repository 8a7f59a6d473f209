"""Forks programs of this room: `python -m worker.tools.forkserver SOCKET`, for a producer that starts many.

It imports the libraries of a program once: each later start takes milliseconds. Its requests arrive on the
descriptor SOCKET, each as a module's name, padded to 64 bytes, with five descriptors: a pipe of JSON
(arguments, folder, environment), standard input, output and error of the program, and the program's own
socket. On this the server writes the exit code, as `subprocess` states it, and a newline; when the other end
is shut down, it kills the program. It ends with its programs when SOCKET is closed.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import sys
import tempfile
import traceback
from collections.abc import Sequence
from contextlib import suppress
from typing import NoReturn

from worker.tools import entry

_NAME_BYTES, _DESCRIPTORS = 64, 5
_PR_SET_PDEATHSIG = 1  # prctl(2)
_NETWORKS = "worker.network.layers"  # which imports torch: most programs compute with a network


class _Server:
    """Forks the requested programs, and watches them."""

    def __init__(self, requests: socket.socket) -> None:
        self._requests = requests
        self._running: dict[int, socket.socket] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(requests, selectors.EVENT_READ)
        self._ended, wake = os.pipe()
        for end in (self._ended, wake):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(wake)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._selector.register(self._ended, selectors.EVENT_READ)

    def serve(self) -> None:
        """Fork what is requested until the socket is closed."""
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._requests:
                    if not self._accept():
                        return
                elif key.fd == self._ended:
                    with suppress(BlockingIOError):
                        os.read(self._ended, 4096)
                    self._reap()
                elif (pid := key.data) in self._running:  # its other end was shut down
                    self._selector.unregister(self._running[pid])
                    os.kill(pid, signal.SIGKILL)

    def close(self) -> None:
        """Kill all programs."""
        for pid in self._running:
            os.kill(pid, signal.SIGKILL)

    def _accept(self) -> bool:
        name, descriptors, *_ = socket.recv_fds(self._requests, _NAME_BYTES, _DESCRIPTORS)
        if not name:
            return False
        module, (wanted, *streams, status) = name.decode().strip(), descriptors
        _import(module)
        gc.freeze()
        own, pid = os.getpid(), os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._selector.close()
            for connection in (self._requests, *self._running.values()):
                connection.close()
            os.close(status)
            _die_with_server(own)
            _become(module, wanted, streams)
        for descriptor in (wanted, *streams):
            os.close(descriptor)
        self._running[pid] = socket.socket(fileno=status)
        self._selector.register(self._running[pid], selectors.EVENT_READ, pid)
        _import(_NETWORKS)  # for the next one
        return True

    def _reap(self) -> None:
        while self._running:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            connection = self._running.pop(pid)
            with suppress(KeyError):
                self._selector.unregister(connection)
            with connection, suppress(OSError):
                connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())


def _import(module: str) -> None:
    """Import ``module`` if it is here; a program whose libraries are missing says so itself."""
    with suppress(ImportError):
        importlib.import_module(module)


def _die_with_server(server: int) -> None:
    """Have the kernel kill this process when ``server`` ends, on Linux: nobody else could stop it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != server:  # it died before the request
            os._exit(1)


def _become(module: str, wanted: int, streams: Sequence[int]) -> NoReturn:
    """Run the ``main`` of ``module`` as this process, with ``streams`` as its standard ones, and exit."""
    code = 1
    try:
        for number, descriptor in enumerate(streams):
            os.dup2(descriptor, number)
            os.close(descriptor)
        with os.fdopen(wanted, encoding="utf-8") as file:
            request = json.load(file)
        os.environ.clear()
        os.environ.update(request["environment"])
        os.chdir(request["folder"])
        tempfile.tempdir = None  # the server may have found one by its own environment
        sys.argv = [module, *request["arguments"]]
        entry.run(importlib.import_module(module).main)
        code = 0
    except SystemExit as ended:
        if isinstance(ended.code, int | None):
            code = ended.code or 0
        else:
            sys.stderr.write(f"{ended.code}\n")
    except BaseException:  # noqa: BLE001 - the interpreter would print it, too
        traceback.print_exc()
    finally:
        with suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def main(descriptor: int) -> None:
    """Serve the requests that arrive on ``descriptor``."""
    with socket.socket(fileno=descriptor) as requests:
        server = _Server(requests)
        try:
            server.serve()
        finally:
            server.close()


if __name__ == "__main__":
    main(int(sys.argv[1]))
