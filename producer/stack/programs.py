"""Runs programs of the worker's side, for what needs torch or a solver's client.

A producer imports neither: it starts a program of `worker.tools` as a process, and reads what that prints. A
producer that starts many has them forked from one process, which imports these libraries once: see `forked`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import IO, Any, Protocol

from producer.stack.forkserver import ForkedProgram, ForkServer
from producer.stack.process import environment
from schema.errors import AnnealqError, InputError
from schema.settings import Settings


class Program(StrEnum):
    """Modules of `worker.tools`."""

    BASELINE = "baseline"
    BUNDLE = "bundle"
    CHECK_BACKBONE = "check_backbone"
    CHIP_MAP = "chips.chip_map"
    ENERGY_HISTOGRAMS = "energy_histograms"
    OCEAN_EMBEDDING = "ocean_embedding"
    OCEAN_MODEL = "ocean_model"
    OCEAN_SAMPLES = "ocean_samples"
    Q_MATRIX = "q_matrix"
    SOLVER_PROBLEMS = "solver_problems"
    TWIN = "chips.twin"
    VERIFY = "verify"


class _Child(Protocol):
    """A process, as `subprocess.Popen`."""

    @property
    def stdout(self) -> IO[str] | None: ...

    def kill(self) -> None: ...

    def wait(self) -> int: ...


@dataclass(frozen=True, eq=False)
class RunningProgram:
    """A program that was started; read its output once, as ``text`` or ``json_lines``."""

    program: Program
    timeout_s: float
    _child: _Child
    _errors: IO[str]

    def text(self) -> str:
        """Return all that the program prints, once it has ended.

        Raises:
            InputError, AnnealqError: as `run` says.
        """
        return "".join(self._lines())

    def json_lines(self) -> Iterator[dict[str, Any]]:
        """Yield the JSON object on each line as soon as it is printed.

        Raises:
            InputError, AnnealqError: as `run` says.
        """
        return (json.loads(line) for line in self._lines())

    def _lines(self) -> Iterator[str]:
        expired = threading.Event()

        def stop() -> None:
            expired.set()
            self._child.kill()

        timer = threading.Timer(self.timeout_s, stop)
        timer.start()
        try:
            yield from self._child.stdout or ()
            code = self._child.wait()
        finally:
            timer.cancel()
        if expired.is_set():
            raise AnnealqError(f"`worker.tools.{self.program}` took more than {self.timeout_s:g} s")
        if code:
            self._errors.seek(0)
            lines = self._errors.read().strip().splitlines()
            text = lines[-1] if lines else f"`worker.tools.{self.program}` ended with exit code {code}"
            if code == -signal.SIGXCPU:
                text = "it needs more processor time than a check may take: choose a smaller file"
            if text.startswith("ModuleNotFoundError"):
                text = f"this needs a worker's packages ({text}): pip install 'annealq[worker]'"
            raise (InputError if code == InputError.exit_code else AnnealqError)(text)


_forks: list[ForkServer] = []  # the last one is used


@contextmanager
def forked() -> Iterator[None]:
    """Fork the programs of this block from one process, which is started with the first of them.

    A program that reads a file that may be hostile is started anew: it must not see what others have read.
    """
    server = ForkServer()
    _forks.append(server)
    try:
        yield
    finally:
        _forks.remove(server)
        server.close()


@contextmanager
def start(
    program: Program,
    arguments: list[str],
    settings: Settings,
    *,
    timeout_s: float,
    stdin: str = "",
    variables: Mapping[str, str] | None = None,
) -> Iterator[RunningProgram]:
    """Start ``program`` with ``arguments``, and kill it when the block ends.

    Args:
        settings: home, database and broker of the child; they override this process's environment.
        timeout_s: how long its output may take, from when it is first read.
        stdin: standard input of the child.
        variables: further environment variables of the child.
    """
    env = {**os.environ, **environment(settings), **(variables or {})}
    module = f"worker.tools.{program}"
    # Files, not pipes: a child that prints much before it has read everything would block.
    with tempfile.TemporaryFile("w+") as requests, tempfile.TemporaryFile("w+", errors="replace") as errors:
        requests.write(stdin)
        requests.seek(0)
        child: subprocess.Popen[str] | ForkedProgram
        if _forks and program is not Program.CHECK_BACKBONE:
            child = _forks[-1].fork(module, arguments, env, requests, errors)
        else:
            command = [sys.executable, "-m", module, *arguments]
            child = subprocess.Popen(
                command, stdin=requests, stdout=subprocess.PIPE, stderr=errors, env=env, text=True
            )
        with child:
            try:
                yield RunningProgram(program, timeout_s, child, errors)
            finally:
                child.kill()


def run(program: Program, arguments: list[str], settings: Settings, *, timeout_s: float) -> str:
    """Return what ``program`` prints with ``arguments``; see `start` for ``settings`` and ``timeout_s``.

    Raises:
        InputError: it ended with exit code 2; the message is its last line on standard error.
        AnnealqError: it failed otherwise, or took longer than ``timeout_s`` seconds.
    """
    with start(program, arguments, settings, timeout_s=timeout_s) as running:
        return running.text()
