"""Notifies workers while images are added to a run."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from producer.runs import hints
from schema.messages import Message, Task

if TYPE_CHECKING:
    from producer.context import AppContext

_NOTIFY_EVERY_S = 1.0  # workers that have finished what was there are idle until then


class GrowthHints:
    """Tells workers of new batches, at most once a second, and of the end."""

    def __init__(self, app: AppContext, run: int) -> None:
        self._url, self._run = app.settings.broker_url, run
        self._sent_at = time.monotonic()

    def grown(self) -> None:
        """Tell of new batches, unless that was done a moment ago."""
        if time.monotonic() - self._sent_at >= _NOTIFY_EVERY_S:
            self._send(Message(Task.DISPATCH))
            self._sent_at = time.monotonic()

    def ended(self) -> None:
        """Tell of the last batches, and that the run may end."""
        self._send(Message(Task.DISPATCH), Message(Task.AGGREGATE_RUN, self._run))

    def _send(self, *messages: Message) -> None:
        hints.send(self._url, *messages)
