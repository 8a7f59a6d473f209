"""What happens to a submitted problem: it is accepted, answered, or fails."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dwave.cloud import Client
from dwave.cloud.computation import Future
from dwave.cloud.exceptions import CanceledFutureError

from schema.errors import Corrupt, Offline, ProblemFailed, SolverError, Unavailable, Uncertain
from worker.sapi import wire
from worker.sapi.errors import is_offline, is_outage, map_answer_error, map_submission_error


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
    gone: int | None = None  # 410 or 404: the solver says that it no longer knows the accepted problem
    # of a problem that was charged although it failed; the solver's own figures by name, microseconds
    timing_us: Mapping[str, float] = field(default_factory=dict)


Event = Accepted | Answered | Failed


def read_outcome(
    key: int, sapi_id: str | None, future: Future, retry_after_s: float | None
) -> Answered | Failed | None:
    """Return the outcome of problem ``key`` from its finished ``future``.

    It is None if the future says nothing certain about an accepted problem: its error may be that of another
    problem of the same request. Then ask about it alone.

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
    except Corrupt:
        return None


def read_status(key: int, sapi_id: str, message: Any) -> Answered | Failed | None:
    """Return the outcome of problem ``key`` from its status and answer, ``message``; None: none yet."""
    try:
        status = message["status"]
        if status == Client.STATUS_COMPLETE:
            return Answered(key, sapi_id, wire.decode_answer(message["answer"]))
        if status in Client.ANY_STATUS_ONGOING:
            return None
        if status == Client.STATUS_CANCELLED:
            return _cancelled(key, sapi_id)
        text = str(message.get("error_message", status))
        timing_us = wire.decode_timing((message.get("answer") or message).get("timing"))
    except (Corrupt, KeyError, TypeError, ValueError, AttributeError) as error:
        text = f"problem {sapi_id}: its status or answer cannot be read: {error}"
        return Failed(key, sapi_id, Unavailable(text), ended=False)
    failed: SolverError = ProblemFailed(f"the solver failed problem {sapi_id}: {text}")
    if is_outage(text):
        failed = Offline(f"the solver went offline: {text}")
    return Failed(key, sapi_id, failed, ended=True, timing_us=timing_us)


def _failure(key: int, sapi_id: str, error: BaseException, retry_after_s: float | None) -> Failed | None:
    """Map an error of an accepted problem; None if it must be asked about alone."""
    if isinstance(error, CanceledFutureError):
        return _cancelled(key, sapi_id)
    if is_offline(error):
        return Failed(key, sapi_id, map_answer_error(sapi_id, error, retry_after_s), ended=False)
    return None  # also of a problem that failed: it may have been charged


def _cancelled(key: int, sapi_id: str) -> Failed:
    text = f"problem {sapi_id} was cancelled at the solver"
    return Failed(key, sapi_id, ProblemFailed(text), ended=True)
