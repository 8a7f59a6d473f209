"""Opens what a command works with: database and broker, with the embedded stack around them where asked."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from producer.context import AppContext, database
from producer.reports.terminal import screen
from schema.errors import BrokerUnavailable, DatabaseOutdated, StackError
from schema.settings import Settings, load, socket_path

_BOOT_S = 10.0


@contextmanager
def open_app(*, embedded: bool, workers: int | None = None, emulator: bool = False) -> Iterator[AppContext]:
    """Database and broker, both answering. ``embedded``: a stack of its own, unless one runs on this home.

    emulator: the work needs one; a stack of its own brings it.

    Raises:
        BrokerUnavailable: nothing answers; says where it looked and what to do. Nothing was written.
        StackError: a stack runs on this home whose workers know no emulator, and one is needed.
    """
    from producer.stack import broker
    from producer.stack.stack import Interrupted, Stack, running_pid

    settings = load()
    if running_pid(settings.home) is not None:
        _wait_for_boot(settings)
    if not embedded or running_pid(settings.home) is not None:
        broker.check(settings.broker_url)
        if emulator:
            _refuse_without_emulator(settings)
        with database(settings) as opened:
            yield AppContext(settings, opened, lambda: None)
        return
    console = screen()
    tell = console.print if "ANNEALQ_VERBOSE" in os.environ else lambda _line: None
    try:
        with (
            Stack(settings, workers=workers, emulator=emulator, on_event=tell) as stack,
            database(settings) as opened,
        ):
            yield AppContext(settings, opened, stack.check)
    except Interrupted as interruption:
        console.print("stopped; what is queued goes on when a stack runs again: `annealq up`")
        raise typer.Exit(interruption.exit_code) from None


def _refuse_without_emulator(settings: Settings) -> None:
    """Where the workers are those of this home's stack, it is known whether they have an emulator."""
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
    """Another process owns the home: give its stack the moment that it takes to answer."""
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
