"""What happens to a submitted problem: it is accepted, answered, or fails."""

from __future__ import annotations

from dataclasses import dataclass

from dwave.cloud.computation import Future
from dwave.cloud.exceptions import CanceledFutureError, SolverOfflineError

from schema.errors import Corrupt, Offline, ProblemFailed, SolverError, Unavailable, Uncertain
from worker.sapi import wire
from worker.sapi.errors import GONE, map_answer_error, map_submission_error


@dataclass(frozen=True)
class Accepted:
    """The solver has given the problem its id."""

    key: int
    sapi_id: str


@dataclass(frozen=True, eq=False)
class Answered:
    """The problem was answered."""

    key: int
    sapi_id: str
    answer: wire.Answer


@dataclass(frozen=True)
class Failed:
    """The problem will not be answered, or not now."""

    key: int
    sapi_id: str | None  # None if the solver gave none
    error: SolverError
    ended: bool  # the problem has finished; otherwise it may still be answered
    # it was charged although there is no answer. A problem that failed is not charged, as a rule
    spent: bool = False


Event = Accepted | Answered | Failed


def read_outcome(
    key: int, sapi_id: str | None, future: Future, retry_after_s: float | None
) -> Answered | Failed:
    """Return the outcome of problem ``key`` from its finished ``future``.

    Args:
        sapi_id: the solver's id, if it has given one.
        retry_after_s: what the server has asked for last.
    """
    try:
        answer = future.result()
    except Exception as error:  # noqa: BLE001 - the client passes on any exception of its threads
        if sapi_id is not None:
            return _failure(key, sapi_id, error, retry_after_s)
        mapped = map_submission_error(error, retry_after_s)
        return Failed(key, None, mapped, ended=not isinstance(mapped, Uncertain))
    try:
        return Answered(key, str(sapi_id), wire.decode_answer(answer))
    except Corrupt as error:
        return Failed(key, sapi_id, Unavailable(f"problem {sapi_id}: {error}"), ended=False)


def _failure(key: int, sapi_id: str, error: BaseException, retry_after_s: float | None) -> Failed:
    """Map an error of an accepted problem: it failed, or its answer can be fetched later."""
    if isinstance(error, CanceledFutureError):
        text = f"problem {sapi_id} was cancelled at the solver"
        return Failed(key, sapi_id, ProblemFailed(text), ended=True)
    if isinstance(error, SolverOfflineError):
        return Failed(key, sapi_id, Offline(f"the solver went offline: {error}"), ended=True)
    mapped = map_answer_error(sapi_id, error, retry_after_s)
    spent = getattr(error, "error_code", None) == GONE
    return Failed(key, sapi_id, mapped, ended=isinstance(mapped, ProblemFailed), spent=spent)
