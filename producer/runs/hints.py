"""Sends hints to the broker: the names of tasks and the ids of rows, as plain Celery messages."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from producer.stack import broker
from schema.messages import Message

# By default kombu tries for 6 s to reach a broker.
_AT_ONCE = {"max_retries": 1, "interval_start": 0, "interval_step": 0.1, "interval_max": 0.1}


def send(broker_url: str, *messages: Message) -> bool:
    """Send ``messages`` to the broker at ``broker_url``; return False if it did not take them all.

    The rows are committed by then: the reconciler sends lost hints again.
    """
    with closing(HintSender(broker_url)) as sender:
        return sender.send(*messages)


class HintSender:
    """Sends hints to the broker at ``broker_url``, over a connection that stays open until `close`."""

    def __init__(self, broker_url: str) -> None:
        from celery import Celery

        self._app = Celery("annealq-producer", broker=broker_url, set_as_current=False)
        self._app.conf.update(
            task_serializer="json",
            task_default_exchange="annealq",
            task_publish_retry=False,
            broker_transport_options={
                "socket_connect_timeout": broker.CONNECT_S,
                # A broker that stopped answering on an open connection would hold its sender for ever.
                "socket_timeout": broker.CONNECT_S,
                "priority_steps": list(range(10)),
                **_AT_ONCE,
            },
        )

    def send(self, *messages: Message) -> bool:
        """Send ``messages``; return False if the broker did not take them all."""
        from kombu.exceptions import OperationalError

        try:
            for message in messages:
                arguments, queue = message.arguments(), message.queue
                options: dict[str, Any] = {**message.options, "ignore_result": True}
                self._app.send_task(message.task, kwargs=arguments, queue=queue, **options)
        except (OperationalError, OSError):
            return False
        return True

    def close(self) -> None:
        """Close the connection."""
        self._app.close()
