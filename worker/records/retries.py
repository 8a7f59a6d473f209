"""Decides whether work that failed is retried or discarded. Pure functions, no I/O."""

from __future__ import annotations

import random
from dataclasses import dataclass

from schema.errors import (
    AnnealqError,
    DatabaseFull,
    DatabaseUnavailable,
    Deferred,
    NoAccess,
    Offline,
    ProblemFailed,
    Refused,
    SolverError,
    Unavailable,
    Uncertain,
    reason,
)
from schema.settings.worker import WorkerSettings

# A database restarts within seconds, and a full disk may be extended.
_TEMPORARY = (Unavailable, DatabaseUnavailable, DatabaseFull)


@dataclass(frozen=True)
class Retry:
    """Decision to retry after ``seconds``.

    Attributes:
        counts: the attempt counts towards the limit.
        progressed: answers were stored, so that no earlier attempt counts either.
    """

    seconds: float
    error: str
    counts: bool = True
    progressed: bool = False


@dataclass(frozen=True)
class Discard:
    """Decision to mark the work failed: no further attempt can help."""

    error: str


def decide(
    error: Exception, attempt: int, settings: WorkerSettings, jitter: random.Random, *, patient: bool = True
) -> Retry | Discard:
    """Decide what to do after attempt number ``attempt`` (from 1) failed with ``error``.

    Errors raised on purpose are permanent, except those in `_TEMPORARY`; unforeseen ones may be caused by the
    machine. The wait between the limits in ``settings`` doubles with each attempt, with "equal jitter" (half
    fixed, half random), so that workers do not return all at once.

    Args:
        jitter: source of the random half.
        patient: wait for an offline solver without limit; otherwise each failure counts.
    """
    if isinstance(error, Deferred):
        return Retry(error.seconds, str(error), counts=False)
    text = reason(error)
    if isinstance(error, Offline) and patient:
        # The batch is not at fault, however long it lasts. The circuit breaker says when to ask again.
        return Retry(settings.retry_base_s, text, counts=False)
    if isinstance(error, NoAccess):
        return Discard(text)
    if isinstance(error, ProblemFailed):
        # The ledger limits how often a problem is sent. The fault may pass within a minute.
        wait = settings.retry_base_s * 4.0 ** min(error.times, 30)
        return Retry(min(wait, settings.retry_limit_s), text, counts=False)
    if isinstance(error, Uncertain):
        # It costs nothing to look the problem up. The circuit breaker limits how often one is sent.
        return Retry(_wait_s(error, settings), text, counts=False)
    if isinstance(error, SolverError) and error.progressed and not isinstance(error, Refused):
        return Retry(_wait_s(error, settings), text, counts=False, progressed=True)
    permanent = isinstance(error, AnnealqError) and not isinstance(error, _TEMPORARY)
    if permanent or attempt >= settings.max_attempts:
        return Discard(text)
    wait = min(settings.retry_limit_s, settings.retry_base_s * 2 ** (attempt - 1))
    return Retry(wait * (0.5 + jitter.random() / 2), text)


def after_silence(attempt: int, settings: WorkerSettings, *, progressed: bool = False) -> Retry | Discard:
    """Decide by ``settings`` what to do with work whose lease expired during ``attempt`` (from 1).

    If it ``progressed``, neither this attempt nor earlier ones count: the work ends, however often its
    workers are killed.
    """
    error = f"the worker fell silent during attempt {attempt}"
    if progressed:
        return Retry(0.0, error, counts=False, progressed=True)
    return Discard(error) if attempt >= settings.max_attempts else Retry(0.0, error)


def _wait_s(error: SolverError, settings: WorkerSettings) -> float:
    if not isinstance(error, Uncertain):
        return settings.retry_base_s
    # Only after this time is it certain whether the problem arrived.
    return settings.quarantine_s if error.wait_s is None else error.wait_s
