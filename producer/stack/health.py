"""Whether the processes that nobody talks to are alive: for health checks of containers and services."""

from __future__ import annotations

import socket

from sqlalchemy import select

from schema.database import Database
from schema.database.leader_lease import RECONCILER
from schema.errors import BrokerUnavailable, StackError
from schema.tables import Leader

_PING_S = 5.0


def check_worker(broker_url: str, host: str | None = None) -> str:
    """The name of this host's worker, when it answers over the broker within 5 s.

    Raises:
        BrokerUnavailable: the broker does not answer. StackError: no worker of this host does.
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
    """The name of the reconciler that leads.

    Raises:
        DatabaseUnavailable: the database does not answer. StackError: none leads.
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
