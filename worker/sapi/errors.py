"""Maps the errors of D-Wave's client to ours, once: Refused, Unavailable or Uncertain.

Only what is wrong with a problem is Refused. What a user or time can mend, such as a token, is Unavailable.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import requests
from dwave.cloud.api.exceptions import (
    RequestError,
    RequestTimeout,
    ResourceAccessForbiddenError,
    ResourceAuthenticationError,
)
from dwave.cloud.exceptions import SolverAuthenticationError, SolverFailureError, SolverNotFoundError

from schema.errors import (
    NoAccess,
    Offline,
    ProblemFailed,
    QueueFull,
    Refused,
    SolverError,
    Unavailable,
    Uncertain,
    UnknownSolver,
    reason,
)

# Codes of a server that has not accepted the problems of a request; after any other error it may have.
_NO_ACCESS = frozenset({401, 403, 404})
_REFUSED = frozenset({400, 405, 409, 413, 415, 422})
# Not 503: a gateway also answers it for a server that took the problem and then fell silent.
_BUSY = 429
_FORBIDDEN = 403
_SERVER_ERRORS = 500
_UNREACHABLE = (requests.ConnectionError, requests.Timeout, requests.exceptions.RetryError, RequestTimeout)
GONE = 410  # the problem was deleted, as all are in the end
NOT_FOUND = 404  # the same, or an id that never existed


def map_submission_error(error: BaseException, retry_after_s: float | None) -> SolverError:
    """Return what ``error`` means at submission: the problem was not accepted, or its outcome is unknown.

    ``retry_after_s`` is what the server has asked for last.
    """
    if isinstance(error, SolverFailureError):
        return _map_refusal(str(error))
    if isinstance(error, SolverAuthenticationError):
        return _token_refused(error)
    code = getattr(error, "error_code", None)
    if code in _NO_ACCESS:
        return NoAccess(f"the service refuses access to the solver ({code}): {error}")
    if code in _REFUSED:
        # It concerns up to 20 problems, so it is not said that one of them is wrong.
        return Unavailable(f"the service refused a request with problems ({code}): {error}")
    if code == _BUSY:
        return Offline(f"the solver takes no more problems for now ({code}): {error}", retry_after_s)
    return Uncertain(f"it is unknown if the problem was accepted: {reason(error)}")


def map_answer_error(sapi_id: str, error: BaseException, retry_after_s: float | None) -> SolverError:
    """Return what ``error`` means when the accepted problem ``sapi_id`` is polled or its answer is loaded.

    ``retry_after_s`` is what the server has asked for last.
    """
    if isinstance(error, SolverAuthenticationError):
        return _token_refused(error)
    text = f"the answer of problem {sapi_id} could not be fetched: {reason(error)}"
    code = getattr(error, "error_code", None)
    if code == _FORBIDDEN:
        return NoAccess(text)
    if code in (GONE, NOT_FOUND):
        return ProblemFailed(f"the solver no longer knows problem {sapi_id} ({code}): {error}")
    return Offline(text, retry_after_s) if is_offline(error) else Unavailable(text)


def is_offline(error: BaseException) -> bool:
    """Return whether ``error`` concerns the whole service: it does not answer, or does not take the token."""
    if isinstance(error, (SolverAuthenticationError, *_UNREACHABLE)):
        return True
    code = getattr(error, "error_code", None) or 0
    return code == _BUSY or code >= _SERVER_ERRORS


def is_outage(text: str) -> bool:
    """Return whether the service refuses or fails a problem with ``text`` because its solver is offline."""
    return "solver is offline" in text.lower()


def _map_refusal(text: str) -> SolverError:
    """Return what the refusal of one problem means: the client passes on its ``text``, not its code."""
    lower = text.lower()
    if "maximum number of queued problems" in lower:
        return QueueFull(f"the service queues no more problems for now: {text}")
    if "does not have access" in lower:
        return NoAccess(f"the service refuses access to the solver: {text}")
    if is_outage(text):
        return Offline(f"the solver is offline: {text}")
    return Refused(f"the solver refused the problem: {text}")


def _token_refused(error: BaseException) -> NoAccess:
    return NoAccess(f"the solver does not accept the token: {error}")


@contextmanager
def mapping_errors() -> Iterator[None]:
    """Map the errors of calls that submit nothing."""
    try:
        yield
    except (SolverAuthenticationError, ResourceAuthenticationError) as error:
        raise _token_refused(error) from None
    except ResourceAccessForbiddenError as error:
        raise NoAccess(f"the service refuses access to the solver: {error}") from None
    except SolverNotFoundError as error:
        raise UnknownSolver(f"solver not found: {error}. `dwave solvers --list` shows all solvers") from None
    except RequestError as error:
        raise Offline(f"the solver does not answer: {reason(error)}") from None
    except (KeyError, TypeError, ValueError) as error:
        raise Unavailable(f"the solver's answer cannot be read: {reason(error)}") from None
    except OSError as error:  # what requests raises
        raise Offline(f"the solver cannot be reached: {reason(error)}") from None
