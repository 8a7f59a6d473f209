"""Every error that annealq raises on purpose, in one tree.

    AnnealqError                      exit code 1
    ├── InputError                    exit code 2: what the user gave cannot be used
    │   ├── ImageError                images, labels or their files
    │   ├── NetworkError              an architecture, weights, or a network that is not there
    │   ├── ParameterError            reads, solver, limits, options
    │   ├── IdempotencyConflict       the key was used before, for other content
    │   └── RequestRefused            what came by HTTP cannot be done: who asks, how much, in which form
    ├── NotFound                      a run, network or embedding that is not in the database
    ├── StorageError                  the database, or a file that is written
    │   ├── DatabaseUnavailable       cannot be opened or reached
    │   ├── DatabaseOutdated          older than the code: migrate
    │   ├── DatabaseTooNew            newer than the code: upgrade annealq
    │   ├── DatabaseFull              no space left
    │   └── Corrupt                   a checksum or a length does not agree
    ├── BrokerUnavailable             Redis or Valkey does not answer
    ├── StackError                    the embedded stack
    │   └── StackRunning              another one owns this home folder
    ├── StaleState                    somebody else moved the row first
    │   └── LeaseLost                 somebody else took the work over
    ├── Deferred                      put aside for a reason of its run or worker; no attempt is lost
    └── SolverError                   the annealer, mapped once in its adapter
        ├── Refused                   never accepted, never charged, never retried
        ├── Unavailable               try again later
        │   └── Offline               the solver as a whole does not answer, or takes nothing more
        └── Uncertain                 may have been accepted and charged

A message names the thing, the limit and the way out.
"""

from __future__ import annotations


class AnnealqError(Exception):
    """Base of all errors raised on purpose; ``exit_code`` is what the command line returns."""

    exit_code = 1


class InputError(AnnealqError):
    """What the user gave cannot be used."""

    exit_code = 2


class ImageError(InputError):
    """Images, labels or their files cannot be used."""


class NetworkError(InputError):
    """An architecture, weights or a network's name cannot be used."""


class ParameterError(InputError):
    """A number, name or option is out of range."""


class IdempotencyConflict(InputError):
    """The idempotency key was used before, for other content."""


class RequestRefused(InputError):
    """A request by HTTP that is not fulfilled.

    status: of the answer, 400 to 599. hint: what to do instead. retry_after_s: when it may be tried again.
    """

    def __init__(self, message: str, status: int, hint: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.hint = hint
        self.retry_after_s = retry_after_s


class NotFound(AnnealqError):
    """No such row."""


class StorageError(AnnealqError):
    """The database, or a file to write, cannot do what was asked."""


class DatabaseUnavailable(StorageError):
    """The database cannot be opened or reached."""


class DatabaseOutdated(StorageError):
    """The database is older than the code."""


class DatabaseTooNew(StorageError):
    """The database is newer than the code."""


class DatabaseFull(StorageError):
    """No space is left for the database."""


class Corrupt(StorageError):
    """Stored bytes do not agree with their checksum or header."""


class BrokerUnavailable(AnnealqError):
    """The broker does not answer."""


class StackError(AnnealqError):
    """The embedded stack could not start or broke down."""


class StackRunning(StackError):
    """Another embedded stack owns this home folder."""


class StaleState(AnnealqError):
    """The row is no longer in the expected state: somebody else moved it first."""


class LeaseLost(StaleState):
    """The lease ran out and somebody else took the work over."""


class Deferred(AnnealqError):
    """The work is put aside, not failed; ``seconds`` until it is due again."""

    def __init__(self, message: str, seconds: float = 0.0) -> None:
        super().__init__(message)
        self.seconds = seconds


class SolverError(AnnealqError):
    """The annealer, as seen through its adapter.

    progressed: answers came in before it happened; an attempt that brought something home does not count.
    """

    progressed = False


class Refused(SolverError):
    """Never accepted and never charged; sending it again cannot help."""


class Unavailable(SolverError):
    """Not accepted; may be tried again later."""


class Offline(Unavailable):
    """The solver as a whole does not answer, or takes nothing more; ``retry_after_s``: as it says itself."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Uncertain(SolverError):
    """May have been accepted and charged; only the ledger may settle it.

    wait_s: seconds after which it can be told; None: not known, a whole quarantine.
    """

    def __init__(self, message: str, wait_s: float | None = None) -> None:
        super().__init__(message)
        self.wait_s = wait_s
