"""Sends hints as Celery messages. If one cannot be sent, it is logged, and the reconciler sends it again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import structlog
from kombu.entity import Queue as KombuQueue
from kombu.exceptions import ChannelError, OperationalError
from redis.exceptions import RedisError

from schema.messages import QUEUE_OF, Message, Queue, Task, queue_name

log = structlog.get_logger()


class Hints(Protocol):
    """Sends hints."""

    def send(self, messages: Iterable[Message]) -> None:
        """Send all ``messages``, or log that the broker did not take one."""

    def waiting(self, queue: Queue) -> int | None:
        """Return how many messages wait in ``queue``; None if the broker does not answer."""


class CeleryHints:
    """Hints through a Celery app."""

    def __init__(self, app: Any) -> None:
        self._app = app

    def send(self, messages: Iterable[Message]) -> None:
        for message in messages:
            try:
                self._app.send_task(
                    message.task, kwargs=message.arguments(), queue=message.queue, **message.options
                )
            except (OperationalError, OSError) as error:
                log.warning("hint not sent", task=message.task, row=message.row, error=str(error))
                return

    def pass_on(self, task: Task, arguments: dict[str, Any]) -> None:
        """Send ``task`` with ``arguments`` of a newer version once to workers that can read it."""
        name = queue_name(QUEUE_OF[task], arguments["version"])
        queue = KombuQueue(name, routing_key=name)  # type: ignore[no-untyped-call]
        try:
            self._app.send_task(task, kwargs=arguments, queue=queue)
        except (OperationalError, OSError) as error:
            log.warning("message of a newer version lost", task=task, error=str(error), **arguments)
            return
        log.warning("message needs a newer worker: upgrade annealq", task=task, queue=name, **arguments)

    def waiting(self, queue: Queue) -> int | None:
        """Read the length of ``queue`` over a pooled connection: opening one costs more than an idle pass."""
        try:
            with self._app.connection_or_acquire() as connection:
                return _length(connection.default_channel, queue)
        except (OperationalError, RedisError, OSError):
            return None


def _length(channel: Any, queue: Queue) -> int:
    try:
        return int(channel.queue_declare(queue, passive=True).message_count)
    except ChannelError:
        return 0  # Redis has no empty lists: a queue that does not exist is empty
