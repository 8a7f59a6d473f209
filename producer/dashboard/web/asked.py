"""Renderings that only workers can compute: found, or asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from producer.dashboard.web.drawing import DrawingKey
from producer.progress.workers import count_alive
from schema.database import Database, renderings
from schema.messages import Message, Task

AGAIN_S = 2  # until a client asks again


@dataclass(frozen=True)
class AskedRendering:
    """What is stored of a rendering that a worker computes.

    Attributes:
        body: None while it is awaited, or if it failed.
        error: why a worker could not compute it; it is asked for again after a minute.
        has_worker: a worker is alive.
    """

    body: bytes | None
    error: str | None = None
    has_worker: bool = True


def find_or_ask(
    database: Database, key: DrawingKey, task: Task, send: Callable[[Message], None]
) -> AskedRendering:
    """Return the rendering of ``key`` in ``database``; ask workers for it if it is missing.

    Args:
        task: that computes it.
        send: sends a message soon.
    """
    run, *_ = key
    with database.reading() as session:
        found = renderings.find(session, *key)
    if found is not None and found.body is not None:
        return AskedRendering(found.body)
    with database.transaction() as session:
        now = database.now(session)
        is_new = renderings.ask(session, *key, task, now=now)
        alive = count_alive(session, now)
    if is_new:
        send(Message(task, run))
    error = found.error if found is not None and not is_new else None
    return AskedRendering(None, error, bool(alive))
