"""Opens database and broker for a command, with a local stack around them if wanted."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer

from producer.context import AppContext, database
from producer.progress.access import require_token
from producer.reports.terminal import screen
from schema.database import Database
from schema.errors import BrokerUnavailable, DatabaseOutdated, StackError
from schema.parameters import Solver
from schema.settings import Settings, load, socket_path

_BOOT_S = 10.0
_LOOK_EVERY_S = 1.0
_LOOKS = 3  # without a stack, after which none is expected any more: one may be starting again
_INTERRUPTED = 130  # exit code after Ctrl-C


@contextmanager
def open_app(
    *,
    embedded: bool,
    workers: int | None = None,
    solver: Solver | None = None,
    check: Callable[[Database], None] | None = None,
) -> Iterator[AppContext]:
    """Open the database and check that the broker answers.

    Args:
        embedded: start a local stack for the command, unless one runs in this home.
        workers: number of batches that the local stack processes at a time.
        solver: the solver that the command needs; a local stack starts the emulator if it is that.
        check: refuses what is wrong by the database alone, before broker and workers are looked for. It is
            not called where the database has yet to be made or upgraded.

    Raises:
        BrokerUnavailable: the broker does not answer; the message says where and what to do.
        StackError: the emulator is needed, and the stack of this home runs without it.
        ParameterError: workers of a local stack would have no token of the solver.
    """
    from producer.stack import broker
    from producer.stack.stack import Interrupted, Stack, running_pid

    settings = load()
    if running_pid(settings.home) is not None:
        _wait_for_boot(settings)
    if check is not None:
        check_database(settings, check)
    if not embedded or running_pid(settings.home) is not None:
        broker.check(settings.broker_url)
        if solver is Solver.EMULATOR:
            _refuse_without_emulator(settings)
        with database(settings) as opened:
            yield AppContext(settings, opened, _joined(settings) if embedded else lambda: None)
        return
    if solver is not None:
        require_token(solver, settings)
    console = screen()
    report = console.print if "ANNEALQ_VERBOSE" in os.environ else lambda _line: None
    try:
        with (
            Stack(settings, workers=workers, emulator=solver is Solver.EMULATOR, on_event=report) as stack,
            database(settings) as opened,
        ):
            yield AppContext(settings, opened, stack.check, starts_workers=True)
    except Interrupted as interruption:
        console.print("stopped; queued work continues when a stack runs again: `annealq up`")
        raise typer.Exit(interruption.exit_code) from None


@contextmanager
def first_database(settings: Settings) -> Iterator[Database]:
    """Open the database of ``settings`` for a command that one can begin with; make one that is not there.

    A database of a server is only opened: who runs it makes its tables.

    Raises:
        DatabaseOutdated, DatabaseTooNew, DatabaseUnavailable.
        StackError: the home folder of a new database cannot be made.
    """
    if is_missing(settings):
        import migrations
        from producer.stack.home import make_home

        make_home(settings.home)
        migrations.upgrade(settings.database_url)
    with database(settings) as opened:
        yield opened


def is_missing(settings: Settings) -> bool:
    """Return whether the database of ``settings`` is a SQLite file that has yet to be made."""
    found = Database(settings.database_url)
    try:
        return found.url.get_backend_name() == "sqlite" and found.revision() is None
    finally:
        found.dispose()


def check_database(settings: Settings, check: Callable[[Database], None]) -> None:
    try:
        with database(settings) as opened:
            check(opened)
    except DatabaseOutdated:
        return  # a stack upgrades it; otherwise the command says so when it needs it


def _joined(settings: Settings) -> Callable[[], None]:
    """Return a check that exits like an interruption once the stack that the command has joined is gone.

    Otherwise the command would wait for ever. It continues if another stack is started meanwhile, or if the
    broker is a shared one, which may have other workers.
    """
    from producer.stack import broker
    from producer.stack.stack import running_pid

    if broker.socket_of(settings.broker_url) != socket_path(settings.home):
        return lambda: None
    pid, looked_at, missed = running_pid(settings.home), time.monotonic(), 0

    def check() -> None:
        nonlocal looked_at, missed
        if time.monotonic() - looked_at < _LOOK_EVERY_S:
            return
        looked_at = time.monotonic()
        missed = 0 if running_pid(settings.home) is not None else missed + 1
        if missed >= _LOOKS:
            screen().print(
                f"process {pid}, whose local stack this command used, has ended; queued work continues when "
                "a stack runs again: `annealq up`",
                markup=False,
            )
            raise typer.Exit(_INTERRUPTED)

    return check


def _refuse_without_emulator(settings: Settings) -> None:
    """Raise StackError if the workers are those of this home's stack, and it runs without the emulator."""
    from producer.stack import broker, lock

    owner = lock.read_owner(settings.home)
    is_ours = broker.socket_of(settings.broker_url) == socket_path(settings.home)
    if owner is not None and is_ours and owner.emulator is None:
        raise StackError(
            f"process {owner.pid} runs the stack of {settings.home} without an emulator: stop it (Ctrl-C "
            f"there, or `kill {owner.pid}`) and start it again with `annealq up --emulator`, or choose "
            "another --solver"
        )


def _wait_for_boot(settings: Settings) -> None:
    """Wait until the stack of another process, which owns this home, answers."""
    from producer.stack import broker
    from producer.stack.stack import running_pid

    deadline = time.monotonic() + _BOOT_S
    while running_pid(settings.home) is not None and time.monotonic() < deadline:
        try:
            broker.check(settings.broker_url)
            with database(settings):
                return
        except (BrokerUnavailable, DatabaseOutdated):
            time.sleep(0.05)
