"""The local stack: everything annealq needs on one machine, as child processes of one owner.

    owner (`annealq up`, or any command given --embedded)
    ├── broker       Valkey on a Unix socket; its queues are on disk
    ├── emulator     optional: a solver with qubits, on a port of this machine
    ├── worker       Celery, one process per concurrent task
    └── reconciler   sends lost hints again

All processes end with their owner; the queued work stays in the home folder.
"""

from __future__ import annotations

import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

from producer.stack import broker, lock
from producer.stack.disk import Disk
from producer.stack.emulator import NAME as EMULATOR
from producer.stack.emulator import Emulator
from producer.stack.home import broker_folder, log_folder, make_home, make_private
from producer.stack.process import Child, environment
from producer.stack.supervisor import OnEvent, RestartPolicy, Supervisor
from schema.errors import ParameterError
from schema.messages import queue_names
from schema.settings import Settings, socket_path

# One Ctrl-C may arrive twice: timeout(1) and some shells signal a process and its group.
_ECHO_S = 0.5


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, SIGTERM or SIGHUP while a stack runs. The stack stops when the block is left."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.signal = signal.Signals(number)

    @property
    def exit_code(self) -> int:
        """Return what a shell expects: 128 + the signal's number."""
        return 128 + self.signal


# A task that waits for a QPU needs no processor: two for each of two QPUs keep these busy.
_LEAST_WORKERS = 4


class Stack:
    """The local stack as a context manager: it runs for the length of the block. Use it once.

    Raises on entry:
        StackRunning: another process owns the home folder; nothing was changed.
        BrokerUnavailable: no server is installed, or the configured broker does not answer.
        StackError: a folder, the lock or the socket is unusable, or a process fails to start.
        StorageError: the database cannot be migrated.

    In the block Ctrl-C, SIGTERM and SIGHUP raise `Interrupted` in the main thread; a further signal
    while the stack stops kills its processes at once. The previous handlers are restored afterwards.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        workers: int | None = None,
        emulator: bool = False,
        children: Iterable[Child] | None = None,
        restart_policy: RestartPolicy | None = None,
        on_event: OnEvent = lambda _event: None,
    ) -> None:
        """Prepare a stack; it starts on entry.

        Args:
            settings: the home folder, the database and the broker. A private broker is started if
                the broker's URL is this home's socket, which is the default.
            workers: concurrent tasks, at least 1; None: see `default_workers`.
            emulator: also run an emulator, unless the settings name one.
            children: processes to run instead of a worker and a reconciler.
            restart_policy: restarts and grace period.
            on_event: gets one line of text per event, partly from another thread.

        Raises:
            ParameterError: ``workers`` is out of range.
        """
        self.settings = settings
        self._wants_emulator = emulator and not settings.emulator_url
        self.emulator: Emulator | None = None
        self.socket = socket_path(settings.home)
        self._children = tuple(standard_children(workers) if children is None else children)
        self._report = _ignoring_closed_output(on_event)
        self._supervisor = Supervisor(
            log_folder(settings.home), restart_policy or RestartPolicy(), self._report, Disk(settings.home)
        )
        self._owns_socket = False
        self._stopping = False
        self._signalled_at = -math.inf
        self._undo = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            undo.enter_context(_handling(self._on_signal))
            make_home(self.settings.home)
            if self._wants_emulator:
                self.emulator = Emulator.choose(self.settings.home, self.settings.emulator_chips)
            undo.enter_context(lock.hold(self.settings.home, self._emulator_url()))
            make_private(log_folder(self.settings.home))
            undo.callback(self._stop)
            self._start_emulator()
            self._start_broker()
            self._migrate()
            self._wait_for_emulator()
            self._start_children()
            self._undo = undo.pop_all()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._undo.close()

    def check(self) -> None:
        """Raise StackError if a child keeps dying; call it while waiting for results."""
        self._supervisor.check()

    def wait(self) -> signal.Signals:
        """Block until Ctrl-C, SIGTERM or SIGHUP, and return the signal.

        Raises:
            StackError: a child keeps dying.
        """
        try:
            self._supervisor.wait()
        except Interrupted as interruption:
            return interruption.signal

    def _emulator_url(self) -> str | None:
        return self.emulator.url if self.emulator else self.settings.emulator_url or None

    def _start_emulator(self) -> None:
        if self.emulator is not None:
            child = self.emulator.child(self.settings.home)
            # First, since it takes longest; the broker starts in the meantime.
            self._supervisor.start(replace(child, env={**environment(self.settings), **child.env}))

    def _wait_for_emulator(self) -> None:
        if self.emulator is not None:
            # Before the workers start: queued work may need it at once.
            self.emulator.wait_until_ready(lambda: self._supervisor.check(never_died=EMULATOR))
            self._report("the emulator is ready")

    def _start_broker(self) -> None:
        home = self.settings.home
        if broker.socket_of(self.settings.broker_url) != self.socket:
            broker.check(self.settings.broker_url)
            return
        child = broker.child(home)
        make_private(broker_folder(home))
        make_private(self.socket.parent)
        broker.refuse_orphan(self.socket)
        self._owns_socket = True
        self._supervisor.start(child)
        broker.wait_for_server(self.socket, lambda: self._supervisor.check(never_died=child.name))
        self._report("the broker is ready")

    def _migrate(self) -> None:
        import migrations

        with _umask(0o077):
            migrations.upgrade(self.settings.database_url)
        self._report("the database is ready")

    def _start_children(self) -> None:
        env = environment(self.settings)
        if self.emulator is not None:
            env |= self.emulator.environment()
        for child in self._children:
            self._supervisor.start(Child(child.name, child.command, {**env, **child.env}))
            self._report(f"the {child.name} is started")

    def _stop(self) -> None:
        self._stopping = True
        self._report("stopping")
        self._supervisor.stop()
        if self._owns_socket:
            self._remove_socket()

    def _remove_socket(self) -> None:
        self.socket.unlink(missing_ok=True)
        if self.socket.parent != broker_folder(self.settings.home):
            with suppress(OSError):
                self.socket.parent.rmdir()

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        is_echo = now - self._signalled_at < _ECHO_S
        self._signalled_at = now
        if is_echo:
            return
        if not self._stopping:
            raise Interrupted(number)
        self._supervisor.skip_grace()


def running_pid(home: Path) -> int | None:
    """Return the process id of the stack that runs on ``home``, or None.

    Raises:
        StackError: the home's lock cannot be read.
    """
    owner = lock.read_owner(home)
    return owner.pid if owner else None


def standard_children(workers: int | None) -> list[Child]:
    """Return a reconciler, and a worker that runs ``workers`` tasks at a time (None: the default)."""
    if workers is not None and workers < 1:
        raise ParameterError(f"{workers} workers: at least 1 is needed")
    return [
        Child("worker", worker_command(default_workers() if workers is None else workers, queue_names())),
        Child("reconciler", [sys.executable, "-m", "worker.reconcile"]),
    ]


def long_running_children(workers: int | None) -> list[Child]:
    """Return the standard children for ``workers`` tasks, and the process that runs schedules."""
    serve = [sys.executable, "-m", "producer.cli", "schedules", "serve"]
    return [*standard_children(workers), Child("scheduler", serve)]


def worker_command(concurrency: int, queues: Iterable[str]) -> list[str]:
    """Return the command line of a Celery worker for ``queues`` with ``concurrency`` tasks at a time.

    It disables mingle, gossip and heartbeat: workers need not know each other, and start 1 s faster.
    """
    options = ["--loglevel", "INFO", "--concurrency", str(concurrency), "-Q", ",".join(queues)]
    quiet = ["--without-mingle", "--without-gossip", "--without-heartbeat"]
    return [sys.executable, "-m", "celery", "-A", "worker.celery:app", "worker", *options, *quiet]


def default_workers() -> int:
    """Return one task for each processor that this process may use, and at least `_LEAST_WORKERS`."""
    usable = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return max(usable, _LEAST_WORKERS)


def _ignoring_closed_output(on_event: OnEvent) -> OnEvent:
    def report(event: str) -> None:
        with suppress(OSError):  # a closed terminal or pipe must not end the supervision
            on_event(event)

    return report


@contextmanager
def _handling(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Handle the signals that end a process with ``handler``, in the main thread; do nothing in others."""
    before: dict[int, Any] = {}
    try:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                # Under nohup(1) a stack must outlive its terminal.
                if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                    before[number] = signal.signal(number, handler)
        yield
    finally:
        for changed, previous in before.items():
            signal.signal(changed, previous)


@contextmanager
def _umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)
