"""Asks the solver about problems one by one, in a thread, when an answer about many of them proves nothing.

The client polls up to 100 problems in one request. One of them that is gone ends the wait for all, and one
that the answer leaves out is never asked for again.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace

from dwave.cloud import Client

from schema.errors import Offline, SolverError
from worker.sapi import problems
from worker.sapi.errors import GONE, NOT_FOUND, map_answer_error
from worker.sapi.events import Answered, Failed, read_status

_PAUSE_S = 0.05  # between requests, so that a solver that fails all polls is not flooded


@dataclass(frozen=True)
class Verdict:
    """What the solver says about one problem; ``outcome`` is None while it has none."""

    key: int
    sapi_id: str
    outcome: Answered | Failed | None


class ProblemChecks:
    """A queue of questions and the thread that asks them. Closed once, with its connection."""

    def __init__(self, client: Client, report: Callable[[Verdict], None]) -> None:
        """Ask through ``client``, and ``report`` each verdict, in the thread."""
        self._client = client
        self._report = report
        self._questions: queue.SimpleQueue[tuple[int, str] | None] = queue.SimpleQueue()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def ask(self, key: int, sapi_id: str) -> None:
        """Ask about the problem ``sapi_id`` next, and report on it under ``key``."""
        self._questions.put((key, sapi_id))
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="problem-checks", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Ask no more; do not wait for the answer to a question that is asked now."""
        self._closed.set()
        self._questions.put(None)

    def _run(self) -> None:
        while (question := self._questions.get()) is not None and not self._closed.is_set():
            outcome = self._outcome(*question)
            self._report(Verdict(*question, outcome))
            if isinstance(outcome, Failed) and not outcome.ended and isinstance(outcome.error, Offline):
                self._answer_all(outcome)
            self._closed.wait(_PAUSE_S)

    def _answer_all(self, failed: Failed) -> None:
        """Report an outage, which concerns all problems that wait, without asking about each of them."""
        while not self._questions.empty():
            question = self._questions.get()
            if question is None:
                self._questions.put(None)
                return
            key, sapi_id = question
            self._report(Verdict(key, sapi_id, replace(failed, key=key, sapi_id=sapi_id)))

    def _outcome(self, key: int, sapi_id: str) -> Answered | Failed | None:
        try:
            with closing(self._client.create_session()) as session:
                return read_status(key, sapi_id, problems.fetch(session, sapi_id))
        except Exception as error:  # noqa: BLE001 - it is mapped; the thread must not end
            code = getattr(error, "error_code", None)
            mapped: SolverError = map_answer_error(sapi_id, error, self._client.retry_after_s)
        if code == NOT_FOUND:
            # A wrong endpoint gives 404 to everything.
            try:
                problems.require_service(self._client)
            except SolverError as error:
                return Failed(key, sapi_id, error, ended=False)
        return Failed(key, sapi_id, mapped, ended=False, gone=code if code in (GONE, NOT_FOUND) else None)
