"""Decides what becomes of work that failed: again later, or given up. Pure."""

from __future__ import annotations

import random
from dataclasses import dataclass

from schema.errors import (
    AnnealqError,
    DatabaseFull,
    DatabaseUnavailable,
    Deferred,
    Offline,
    Refused,
    SolverError,
    Unavailable,
    Uncertain,
)
from worker.process.settings import WorkerSettings

# A database that is restarted is away for seconds; one that is full may be given room.
_PASSING = (Unavailable, DatabaseUnavailable, DatabaseFull)


@dataclass(frozen=True)
class Retry:
    """Hand the work back and try again after ``seconds``; ``counts``: an attempt is used up."""

    seconds: float
    error: str
    counts: bool = True


@dataclass(frozen=True)
class Discard:
    """No further attempt can help."""

    error: str


def decide(
    error: Exception, attempt: int, settings: WorkerSettings, jitter: random.Random, *, patient: bool = True
) -> Retry | Discard:
    """What to do after attempt number ``attempt`` (from 1) ended in ``error``.

    Errors that we raise on purpose do not go away by themselves, but for those of `_PASSING`; an
    unforeseen error may have been the machine's. The wait doubles with each attempt, with
    "equal jitter" (half fixed, half random) so that workers do not come back all at once.

    patient: a solver that is offline is waited for, however long; else it uses up attempts like any failure.
    """
    if isinstance(error, Deferred):
        return Retry(error.seconds, str(error), counts=False)
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, Offline) and patient:
        # No fault of the batch, however long it lasts. The solver's breaker says when to ask again.
        return Retry(settings.retry_base_s, text, counts=False)
    if isinstance(error, SolverError) and error.progressed and not isinstance(error, Refused):
        return Retry(_wait_s(error, settings), text, counts=False)
    if isinstance(error, Uncertain) and attempt < settings.max_attempts:
        return Retry(_wait_s(error, settings), text)
    lasting = isinstance(error, AnnealqError) and not isinstance(error, _PASSING)
    if lasting or attempt >= settings.max_attempts:
        return Discard(text)
    wait = min(settings.retry_limit_s, settings.retry_base_s * 2 ** (attempt - 1))
    return Retry(wait * (0.5 + jitter.random() / 2), text)


def after_silence(attempt: int, settings: WorkerSettings) -> Retry | Discard:
    """Decide what to do with work whose worker stopped renewing its lease during ``attempt`` (from 1)."""
    error = f"the worker fell silent during attempt {attempt}"
    return Discard(error) if attempt >= settings.max_attempts else Retry(0.0, error)


def _wait_s(error: SolverError, settings: WorkerSettings) -> float:
    if not isinstance(error, Uncertain):
        return settings.retry_base_s
    # Whether it arrived can only be told when it would have; the ledger settles it then.
    return settings.quarantine_s if error.wait_s is None else error.wait_s
