"""Sends hints to the broker: the names of tasks and the ids of rows, as plain Celery messages."""

from __future__ import annotations

from producer.stack import broker
from schema.messages import Message

# By default kombu tries for 6 s to reach a broker.
_AT_ONCE = {"max_retries": 1, "interval_start": 0, "interval_step": 0.1, "interval_max": 0.1}


def send(broker_url: str, *messages: Message) -> bool:
    """Send ``messages`` to the broker at ``broker_url``; return False if it did not take them all.

    The rows are committed by then: the reconciler sends lost hints again.
    """
    from celery import Celery
    from kombu.exceptions import OperationalError

    app = Celery("annealq-producer", broker=broker_url, set_as_current=False)
    app.conf.update(
        task_serializer="json",
        task_default_exchange="annealq",
        task_publish_retry=False,
        broker_transport_options={
            "socket_connect_timeout": broker.CONNECT_S,
            "priority_steps": list(range(10)),
            **_AT_ONCE,
        },
    )
    try:
        for message in messages:
            app.send_task(message.task, kwargs=message.arguments(), queue=message.queue, ignore_result=True)
    except (OperationalError, OSError):
        return False
    finally:
        app.close()
    return True
