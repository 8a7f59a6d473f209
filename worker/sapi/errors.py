"""What the errors of D-Wave's client mean to us: Refused, Unavailable or Uncertain."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dwave.cloud.api.exceptions import RequestError, ResourceAuthenticationError
from dwave.cloud.exceptions import SolverAuthenticationError, SolverFailureError, SolverNotFoundError

from schema.errors import Offline, Refused, SolverError, Unavailable, Uncertain

# What the server says it has not accepted; any other error may have come after it had.
_REFUSED = frozenset({400, 401, 403, 404, 405, 409, 413, 415, 422})
# 503 is not among them: a gateway says it also for a server that has taken the problem and then fell silent.
_BUSY = 429
GONE = 410  # answers are not kept for ever


def map_submission_error(error: BaseException, retry_after_s: float | None) -> SolverError:
    """What an error at submission means: the problem was not accepted, or nobody knows.

    retry_after_s: what the server has said last.
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
    return Uncertain(f"nobody knows whether the problem was accepted: {type(error).__name__}: {error}")


@contextmanager
def mapping_errors() -> Iterator[None]:
    """Errors of calls that submit nothing."""
    try:
        yield
    except (SolverAuthenticationError, ResourceAuthenticationError) as error:
        raise Refused(f"the solver does not accept the token: {error}") from None
    except SolverNotFoundError as error:
        raise Refused(
            f"there is no such solver: {error}. `dwave solvers --list` shows what there is"
        ) from None
    except RequestError as error:
        raise Offline(f"the solver does not answer: {type(error).__name__}: {error}") from None
    except (KeyError, TypeError, ValueError) as error:
        raise Unavailable(f"the solver's answer cannot be read: {type(error).__name__}: {error}") from None
    except OSError as error:  # what requests raises
        raise Offline(f"the solver cannot be reached: {type(error).__name__}: {error}") from None
