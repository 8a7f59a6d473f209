"""Processor time of the stages of runs, measured while this process works them off.

There is neither a broker nor a reconciler, whose time does not depend on the number of images.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy.orm import Session

from worker.compute import scoring
from worker.network.trained import TrainedNetwork
from worker.pipeline import finish_run
from worker.remote import collecting

FEATURES, SCORING, CHIP, CONTROLS = "features", "scoring", "measuring the chip", "controls"
TABLES, HTTP, REST = QUEUE = "tables", "HTTP", "the rest"
STAGES = (FEATURES, SCORING, CHIP, CONTROLS, *QUEUE)
_TIMED: tuple[tuple[Any, str, str], ...] = (
    (TrainedNetwork, "features", FEATURES),
    (scoring, "score", SCORING),
    (collecting, "measure", CHIP),
    (finish_run, "controls_of", CONTROLS),
    *((Session, name, TABLES) for name in ("execute", "flush", "commit")),
)


class Stages:
    """Processor times by stage, in seconds; the time of a stage within another one counts once."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        """Time the stages of this thread until ``patch`` is undone."""
        self.times_s: Counter[str] = Counter()
        self._inner = [0.0]
        self._thread = threading.get_ident()
        for owner, name, stage in _TIMED:
            patch.setattr(owner, name, self._timed(getattr(owner, name), stage))

    def measure(self, work: Callable[[], object]) -> dict[str, float]:
        """Do ``work``, and return the time of each stage; that of other threads is the client's."""
        self.times_s.clear()
        all_s, own_s = time.process_time(), time.thread_time()
        work()
        own_s = time.thread_time() - own_s
        http_s = time.process_time() - all_s - own_s
        return {**self.times_s, HTTP: http_s, REST: own_s - self.times_s.total()}

    def _timed(self, function: Callable[..., Any], stage: str) -> Callable[..., Any]:
        def timed(*arguments: Any, **options: Any) -> Any:
            if threading.get_ident() != self._thread:
                return function(*arguments, **options)
            self._inner.append(0.0)
            started = time.thread_time()
            try:
                return function(*arguments, **options)
            finally:
                took_s = time.thread_time() - started
                self.times_s[stage] += took_s - self._inner.pop()
                self._inner[-1] += took_s

        return timed
