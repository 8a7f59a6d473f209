"""Health checks of workers and reconcilers, for containers and services."""

from __future__ import annotations

import socket

from sqlalchemy import select

from schema.database import Database
from schema.database.leader_lease import RECONCILER
from schema.errors import BrokerUnavailable, StackError
from schema.tables import Leader

_PING_S = 5.0


def check_worker(broker_url: str, host: str | None = None) -> str:
    """Return the name of the worker on ``host`` (default: this one) that answers over ``broker_url``.

    Raises:
        BrokerUnavailable: the broker does not answer.
        StackError: the worker does not answer within 5 s.
    """
    from celery import Celery
    from kombu.exceptions import OperationalError

    name = f"celery@{host or socket.gethostname()}"
    app = Celery(broker=broker_url, set_as_current=False)
    try:
        with app.connection_for_write() as connection:
            answers = app.control.ping([name], timeout=_PING_S, connection=connection, limit=1)
    except OperationalError as error:
        raise BrokerUnavailable(f"the broker does not answer: {error}") from None
    finally:
        app.close()
    if not answers:
        raise StackError(f"no worker {name} answers within {_PING_S:g} s: start one with `annealq worker`")
    return name


def check_reconciler(database_url: str) -> str:
    """Return the name of the leading reconciler of ``database_url``.

    Raises:
        DatabaseUnavailable: the database does not answer.
        StackError: no reconciler leads.
    """
    database = Database(database_url)
    try:
        with database.reading() as session:
            valid = Leader.until > database.now(session)
            holder = session.execute(select(Leader.holder).where(Leader.role == RECONCILER, valid)).scalar()
    finally:
        database.dispose()
    if holder is None:
        raise StackError("no reconciler leads: start one with `annealq reconciler`")
    return holder
