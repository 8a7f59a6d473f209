"""A visitor of the pages, and what they may do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

from starlette.datastructures import UploadFile
from starlette.requests import Request


class Change(Protocol):
    """Performs ``action`` on ``run`` with its ``options``."""

    def __call__(self, run: int, action: str, **options: Any) -> None: ...


@dataclass(frozen=True)
class Visitor:
    """A visitor of the pages.

    Attributes:
        name: of the owner of the API key; None for this machine.
        may_act: the visitor may submit runs, and pause, resume and cancel them.
        is_admin: the visitor may also change what belongs to nobody: networks, schedules, budgets.
        only: the owners whose runs the visitor sees; None for all runs.
        check: raises NotFound for a run that the visitor does not see.
        submit: enqueues a run from the fields and files of a form and an idempotency key; returns its number,
            or raises InputError for what cannot be used.
        change: performs an action on a run, with the options of the action; raises RequestRefused if the run
            belongs to another owner, or the visitor may not use an option.
    """

    name: str | None
    may_act: bool
    is_admin: bool
    only: tuple[int, ...] | None
    check: Callable[[int], None]
    submit: Callable[[list[tuple[str, UploadFile | str]], str], int]
    change: Change


@dataclass(frozen=True)
class Door:
    """How visitors come in and leave. Each function may raise RequestRefused (401, 403, 429).

    Attributes:
        cookie: name of the cookie that stores a session.
        lifetime: of a session.
        admit: returns the visitor for a request and its cookie, if any.
        begin: begins a session for a request with a key; returns the value of the cookie.
        end: ends the session of a cookie.
    """

    cookie: str
    lifetime: timedelta
    admit: Callable[[Request, str | None], Visitor]
    begin: Callable[[Request, str], str]
    end: Callable[[str], None]
