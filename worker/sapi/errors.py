"""Maps the errors of D-Wave's client to ours, once: Refused, Unavailable or Uncertain."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dwave.cloud.api.exceptions import RequestError, ResourceAuthenticationError
from dwave.cloud.exceptions import SolverAuthenticationError, SolverFailureError, SolverNotFoundError

from schema.errors import Offline, Refused, SolverError, Unavailable, Uncertain

# Codes of a server that has not accepted the problem; after any other error it may have.
_REFUSED = frozenset({400, 401, 403, 404, 405, 409, 413, 415, 422})
# Not 503: a gateway also answers it for a server that took the problem and then fell silent.
_BUSY = 429
GONE = 410  # the answer was deleted, as all are in the end


def map_submission_error(error: BaseException, retry_after_s: float | None) -> SolverError:
    """Return what ``error`` means at submission: the problem was not accepted, or its outcome is unknown.

    ``retry_after_s`` is what the server has asked for last.
    """
    if isinstance(error, SolverFailureError):
        return Refused(f"the solver refused the problem: {error}")
    if isinstance(error, SolverAuthenticationError):
        return Refused(f"the solver does not accept the token: {error}")
    code = getattr(error, "error_code", None)
    if code in _REFUSED:
        return Refused(f"the solver refused the problem ({code}): {error}")
    if code == _BUSY:
        return Offline(f"the solver takes no more problems for now ({code}): {error}", retry_after_s)
    return Uncertain(f"it is unknown if the problem was accepted: {type(error).__name__}: {error}")


@contextmanager
def mapping_errors() -> Iterator[None]:
    """Map the errors of calls that submit nothing."""
    try:
        yield
    except (SolverAuthenticationError, ResourceAuthenticationError) as error:
        raise Refused(f"the solver does not accept the token: {error}") from None
    except SolverNotFoundError as error:
        raise Refused(f"solver not found: {error}. `dwave solvers --list` shows all solvers") from None
    except RequestError as error:
        raise Offline(f"the solver does not answer: {type(error).__name__}: {error}") from None
    except (KeyError, TypeError, ValueError) as error:
        raise Unavailable(f"the solver's answer cannot be read: {type(error).__name__}: {error}") from None
    except OSError as error:  # what requests raises
        raise Offline(f"the solver cannot be reached: {type(error).__name__}: {error}") from None
