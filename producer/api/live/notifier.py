"""Tells the workers that there is something to do: one hint for all runs that were committed meanwhile.

Beside the requests, since a broker that is away must not keep a client waiting: the work is safe by then.
"""

from __future__ import annotations

import threading

from producer.runs import hints
from producer.stack import broker
from schema.errors import BrokerUnavailable
from schema.messages import Message, Task

_END_S = 2.0


class Doorbell:
    """A thread that sends hints; `ring` returns at once."""

    def __init__(self, broker_url: str) -> None:
        self._broker_url = broker_url
        self._rung = threading.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="doorbell", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def ring(self) -> None:
        self._rung.set()

    def close(self) -> None:
        """End; a hint that was not sent yet is left to the reconciler."""
        self._closed = True
        self._rung.set()
        self._thread.join(_END_S)

    def _run(self) -> None:
        while not self._closed:
            self._rung.wait()
            if self._closed:
                return
            self._rung.clear()
            self._hint()

    def _hint(self) -> None:
        try:
            broker.check(self._broker_url)  # tells at once what sending would only give up after seconds
        except BrokerUnavailable:
            return  # the reconciler sends the hint again
        hints.send(self._broker_url, Message(Task.DISPATCH))
