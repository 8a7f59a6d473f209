"""Who acts: a context that every recorded event takes its actor and its request from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Acting:
    """The origin of an event. ``actor``: an owner of API keys, or USER@HOST on the command line."""

    actor: str | None = None  # None: annealq itself
    request_id: str | None = None  # of an HTTP request


_NOBODY = Acting()
_ACTING: ContextVar[Acting] = ContextVar("acting", default=_NOBODY)


def acting() -> Acting:
    """Return who acts in the present context."""
    return _ACTING.get()


@contextmanager
def act_as(*, actor: str | None = None, request_id: str | None = None) -> Iterator[None]:
    """Let events of the block have this ``actor`` and ``request_id``; what is None stays as it is."""
    given = {"actor": actor, "request_id": request_id}
    known = {name: value for name, value in given.items() if value is not None}
    token = _ACTING.set(replace(_ACTING.get(), **known))
    try:
        yield
    finally:
        _ACTING.reset(token)
