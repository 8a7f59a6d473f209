"""Starts a process that reads waiting intakes: hostile files can end it, and nothing else."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from producer.intake.uploads import remove_unused
from producer.intake.waiting import is_waiting
from producer.stack.home import log_folder, make_private
from producer.stack.process import Child, Process, environment
from schema.database import Database
from schema.errors import StackError, StorageError
from schema.settings import Settings

_EVERY_S = 1.0
_STOPPED_S = 5.0
_SWEEP_S = 600.0
_COMMAND = ("-m", "producer.cli", "runs", "read")


class ReaderProcess:
    """Keeps a reader running for as long as intakes of a database wait, in a thread of its own."""

    def __init__(self, settings: Settings, database: Database) -> None:
        """Prepare a reader for ``database``, with the ``settings`` of this process."""
        self._settings, self._database = settings, database
        self._process: Process | None = None
        self._stopping, self._wanted = threading.Event(), threading.Event()
        # The system kills the process when this thread ends.
        self._thread = threading.Thread(target=self._run, name="intake-reader", daemon=True)

    def start(self) -> None:
        """Begin to look for waiting intakes, once a second."""
        self._thread.start()

    def wake(self) -> None:
        """Look at once: an intake was written."""
        self._wanted.set()

    def close(self) -> None:
        """End the reader; another process, or the next start, reads on."""
        self._stopping.set()
        self._wanted.set()
        if self._thread.is_alive():
            self._thread.join(_STOPPED_S)

    def _run(self) -> None:
        swept = float("-inf")
        while not self._stopping.is_set():
            with suppress(StorageError):  # whoever serves requests reports it
                if time.monotonic() > swept + _SWEEP_S:
                    remove_unused(self._database, self._settings.home)
                    swept = time.monotonic()
                self._start_if_needed()
            self._wanted.wait(_EVERY_S)
            self._wanted.clear()
        if self._process is not None:
            self._process.kill()

    def _start_if_needed(self) -> None:
        is_running = self._process is not None and self._process.exit_code() is None
        if is_running or not is_waiting(self._database):
            return
        with suppress(OSError, StackError):  # no process, or no space for its log: tried again
            make_private(log_folder(self._settings.home))
            command = [sys.executable, *_COMMAND]
            child = Child("reader", command, environment(self._settings))
            self._process = Process(child, log_folder(self._settings.home) / "reader.log")


@contextmanager
def reading(settings: Settings, database: Database) -> Iterator[ReaderProcess]:
    """Read waiting intakes of ``database`` in a process of its own until the block ends."""
    reader = ReaderProcess(settings, database)
    reader.start()
    try:
        yield reader
    finally:
        reader.close()
