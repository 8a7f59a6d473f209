"""Decides what becomes of work that failed: again later, or given up. Pure."""

from __future__ import annotations

import random
from dataclasses import dataclass

from schema.errors import AnnealqError, DatabaseFull, DatabaseUnavailable, Unavailable, Uncertain
from worker.settings import WorkerSettings

# A database that is restarted is away for seconds; one that is full may be given room.
_PASSING = (Unavailable, DatabaseUnavailable, DatabaseFull)


@dataclass(frozen=True)
class Again:
    """Hand the work back and try again after ``seconds``."""

    seconds: float
    error: str


@dataclass(frozen=True)
class GiveUp:
    """No further attempt can help."""

    error: str


def decide(error: Exception, attempt: int, settings: WorkerSettings, jitter: random.Random) -> Again | GiveUp:
    """What to do after attempt number ``attempt`` (from 1) ended in ``error``.

    Errors that we raise on purpose do not go away by themselves, but for those of `_PASSING`; an
    unforeseen error may have been the machine's. The wait doubles with each attempt, with
    "equal jitter" (half fixed, half random) so that workers do not come back all at once.
    """
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, Uncertain) and attempt < settings.max_attempts:
        # Whether it arrived can only be told when it would have; the ledger settles it then.
        return Again(settings.quarantine_s if error.wait_s is None else error.wait_s, text)
    lasting = isinstance(error, AnnealqError) and not isinstance(error, _PASSING)
    if lasting or attempt >= settings.max_attempts:
        return GiveUp(text)
    wait = min(settings.retry_limit_s, settings.retry_base_s * 2 ** (attempt - 1))
    return Again(wait * (0.5 + jitter.random() / 2), text)
