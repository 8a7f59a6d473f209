"""Notifies the workers of new work: each hint once for all who have asked for it in the meantime.

It runs in its own thread, because a client should not wait for a broker that is away: the runs are stored by
then. The connection to the broker stays open, since opening one takes longer than sending a hint.
"""

from __future__ import annotations

import threading

from producer.runs.hints import HintSender
from producer.stack import broker
from schema.errors import BrokerUnavailable
from schema.messages import Message, Task

_JOIN_S = 2.0
_HINT = Message(Task.DISPATCH)


class Notifier:
    """A thread that sends hints to the broker at ``broker_url``; `notify` returns at once."""

    def __init__(self, broker_url: str) -> None:
        self._broker_url = broker_url
        self._wanted = threading.Event()
        self._lock = threading.Lock()
        self._messages: set[Message] = set()
        self._closed = False
        self._sender: HintSender | None = None
        self._thread = threading.Thread(target=self._run, name="notifier", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def notify(self, message: Message = _HINT) -> None:
        """Send ``message`` soon; by default that there are new runs."""
        with self._lock:
            self._messages.add(message)
        self._wanted.set()

    def close(self) -> None:
        """Stop the thread. A hint that was not sent yet is left to the reconciler."""
        self._closed = True
        self._wanted.set()
        self._thread.join(_JOIN_S)

    def _run(self) -> None:
        while not self._closed:
            self._wanted.wait()
            if self._closed:
                break
            self._wanted.clear()
            with self._lock:
                messages, self._messages = self._messages, set()
            if messages:
                self._send(messages)
        self._disconnect()

    def _send(self, messages: set[Message]) -> None:
        if self._sender is not None:
            if self._sender.send(*messages):
                return
            self._disconnect()  # the broker may have restarted since
        try:
            broker.check(self._broker_url)  # fails at once, while sending would try for seconds
        except BrokerUnavailable:
            return  # the reconciler sends the hint again
        self._sender = HintSender(self._broker_url)
        if not self._sender.send(*messages):
            self._disconnect()

    def _disconnect(self) -> None:
        if self._sender is not None:
            self._sender.close()
            self._sender = None
