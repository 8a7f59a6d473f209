"""All errors that annealq raises on purpose.

* AnnealqError                  exit code 1
  + InputError                  exit code 2: correct the input
    - ImageError
    - NetworkError
    - BackboneError
    - ParameterError
    - IdempotencyConflict
    - RequestRefused
  + NotFound
  + StorageError
    - DatabaseUnavailable
    - DatabaseOutdated
    - DatabaseTooNew
    - DatabaseFull
    - DiskFull
    - Corrupt
      - ShardError
  + BrokerUnavailable
  + StackError
    - StackRunning
  + StaleState
    - LeaseLost
  + Deferred
  + SolverError                 mapped once, in the adapter of the solver
    - Refused                   never charged, never tried again
      . UnknownSolver
    - Unavailable               not charged, tried again later
      . Offline
        . NoAccess
      . QueueFull
      . ProblemFailed
    - Uncertain                 may have been charged, never blindly tried again

A message names the thing, the limit and what to do. QPU time may have been spent only where `Uncertain` was
raised; all other errors happen before a problem is accepted, or leave its charge in the ledger.
"""

from __future__ import annotations

import re
from collections.abc import Sequence


class AnnealqError(Exception):
    """Base of all errors raised on purpose; ``exit_code`` is that of the command line."""

    exit_code = 1


def reason(error: BaseException) -> str:
    """Return what ``error`` says to a person; of a foreign error also its kind in words: `read timeout: ...`.

    Args:
        error: from which the name of its class is left out, if it was raised on purpose.
    """
    text = str(error).strip()
    if isinstance(error, AnnealqError):
        return text
    kind = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(error).__name__).lower()
    return f"{kind}: {text}" if text else kind


def validation_text(message: str, value: object) -> str:
    """Return what is wrong with ``value`` by the ``message`` of a validator, which says it of an "input".

    >>> validation_text("Input should be a valid integer, unable to parse string as an integer", "x")
    "'x' should be a valid integer"
    >>> validation_text("Value error, 'x' is not one of 'a', 'b'", "x")
    "'x' is not one of 'a', 'b'"
    """
    text = message.removeprefix("Value error, ").removeprefix("Assertion failed, ")
    subject, _, rest = text.partition(" ")
    return f"{value!r:.100} {rest.partition(', unable to')[0]}" if subject in ("Input", "String") else text


class InputError(AnnealqError):
    """Base of errors in a user's input; nothing was enqueued or spent."""

    exit_code = 2


class ImageError(InputError):
    """Images, labels or their files cannot be read, or the network cannot take them."""


class NetworkError(InputError):
    """An architecture, weights or a network's name cannot be used."""


class BackboneError(InputError):
    """A backbone's file cannot be used, or there is no backbone of a name."""


class ParameterError(InputError):
    """A number, name, setting or option is unknown or out of range.

    Attributes:
        wrong_fields: what is wrong with each field of a request, by name; empty where that is not known.
    """

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.wrong_fields: dict[str, str] = {} if field is None else {field: message}


class IdempotencyConflict(InputError):
    """The idempotency key was used before, for another request; ``fields`` are those that differ."""

    def __init__(self, message: str, fields: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.fields = tuple(fields)


class RequestRefused(InputError):
    """An HTTP request is refused: wrong key, too many requests, too large, wrong format.

    Attributes:
        status: of the response, 400 to 599.
        hint: what to do instead.
        retry_after_s: seconds after which the request may be tried again.
    """

    def __init__(self, message: str, status: int, hint: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.hint = hint
        self.retry_after_s = retry_after_s


class NotFound(AnnealqError):
    """The database has no such run, network or embedding."""


class StorageError(AnnealqError):
    """The database, or a file to write, cannot be used; the transaction was rolled back."""


class DatabaseUnavailable(StorageError):
    """The database cannot be opened or reached; workers try again."""


class DatabaseOutdated(StorageError):
    """The database is older than the code: migrate it."""


class DatabaseTooNew(StorageError):
    """The database is newer than the code: upgrade annealq."""


class DatabaseFull(StorageError):
    """No space is left for the database."""


class DiskFull(StorageError):
    """No space is left for a file: a temporary one, or one that a user asked for."""


class Corrupt(StorageError):
    """Stored bytes do not agree with their checksum or header."""


class ShardError(Corrupt):
    """A file that a batch refers to cannot be read, or has changed."""


class BrokerUnavailable(AnnealqError):
    """The broker, Redis or Valkey, does not answer; rows that were committed are not lost."""


class StackError(AnnealqError):
    """The local stack could not start, or one of its processes failed."""


class StackRunning(StackError):
    """Another local stack owns this home folder."""


class StaleState(AnnealqError):
    """A row is no longer in the expected state: another process moved it first, and this one stops."""


class LeaseLost(StaleState):
    """The lease of a row expired and another worker claimed it."""


class Deferred(AnnealqError):
    """A worker puts work aside without counting an attempt; it is due again after ``seconds``."""

    def __init__(self, message: str, seconds: float = 0.0) -> None:
        super().__init__(message)
        self.seconds = seconds


class SolverError(AnnealqError):
    """Base of errors of a solver.

    Attributes:
        progressed: answers were stored before the error, so the attempt is not counted.
    """

    progressed = False


class Refused(SolverError):
    """The solver refused a problem and did not charge for it; the same problem would be refused again.

    Attributes:
        whole_run: all problems of the run would be refused, before they are submitted.
    """

    whole_run = False


class UnknownSolver(Refused):
    """The service lists no such solver: a wrong name, or a solver that it withdrew."""


class Unavailable(SolverError):
    """The solver did not accept a problem now and did not charge for it; it may be tried again later."""


class Offline(Unavailable):
    """The solver as a whole does not answer or accept problems; ``retry_after_s`` is its own advice."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class NoAccess(Offline):
    """The service refuses the token, or access to the solver: until it is renewed, nothing works."""


class QueueFull(Unavailable):
    """The service queues no more problems of this account for now; it is healthy."""


class ProblemFailed(Unavailable):
    """The solver accepted a problem, and it ended without an answer; it is sent again a few times.

    Attributes:
        times: how often problems with the same images have failed.
    """

    times = 1


class Uncertain(SolverError):
    """A problem may have been accepted and charged; only the ledger may resolve it, by the problem's label.

    Attributes:
        wait_s: seconds after which its outcome can be known; None: a whole quarantine.
    """

    def __init__(self, message: str, wait_s: float | None = None) -> None:
        super().__init__(message)
        self.wait_s = wait_s
