"""A worker that stops does not wait for requests that may never be answered."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from schema.errors import Deferred, Unavailable
from tests.stopping import clear_shutdown
from worker.process import shutdown


@pytest.fixture(autouse=True)
def _nothing_said() -> Iterator[None]:
    yield
    clear_shutdown()


def test_what_is_asked_is_returned_or_raised() -> None:
    def fail() -> None:
        raise Unavailable("no answer")

    assert shutdown.run_interruptible(lambda: 7) == 7
    with pytest.raises(Unavailable, match="no answer"):
        shutdown.run_interruptible(fail)


def test_a_question_is_left_behind_when_the_worker_stops() -> None:
    answered = threading.Event()

    def ask() -> None:
        shutdown.request()
        answered.wait()

    with pytest.raises(Deferred, match="stopped"):
        shutdown.run_interruptible(ask)
    answered.set()
