"""Adds to a `Corrupt` which row is damaged and what to do; the codecs that raise it know neither."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from schema.errors import Corrupt, ShardError

BACKUP = "restore the database from a backup"
_LOOK = "`annealq doctor` looks for more"


@contextmanager
def stored_in(row: str, hint: str) -> Iterator[None]:
    """Let a `Corrupt` that the body raises name ``row``, which stores the bytes, and ``hint``, the remedy.

    Raises:
        Corrupt: as the body did, with both.
    """
    try:
        yield
    except ShardError as error:
        raise ShardError(f"{row}: {error}") from None
    except Corrupt as error:
        raise Corrupt(f"{row}: {error}; {BACKUP}, or {hint} ({_LOOK})") from None
