"""The Celery app with its configuration and signals.

Messages are acknowledged early, never retried by Celery, and have no results: work interrupted by a crash is
found by its lease in SQL, whatever the broker has lost.
"""

from __future__ import annotations

import gc
import sys

import structlog
from celery import Celery
from celery.signals import (
    import_modules,
    setup_logging,
    worker_init,
    worker_process_init,
    worker_process_shutdown,
    worker_ready,
    worker_shutdown,
    worker_shutting_down,
)
from kombu.entity import Queue as KombuQueue

from schema.errors import DatabaseOutdated, DatabaseTooNew, ParameterError, StackError, StorageError
from schema.messages import Queue, queue_names
from schema.settings import load, load_worker
from worker.process import shutdown
from worker.process.logs import configure

log = structlog.get_logger()


def _broker_url() -> str:
    """Return the broker's URL; exit as after a wrong option if a setting is invalid, before anything else."""
    try:
        load_worker()
        return load().broker_url
    except ParameterError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(error.exit_code)


app = Celery("annealq", broker=_broker_url(), include=["worker.tasks"])

app.conf.update(
    result_backend=None,
    task_ignore_result=True,
    task_store_errors_even_if_ignored=False,
    task_serializer="json",
    accept_content=["json"],
    # Recovery is by leases in SQL. Late acknowledgement would run a slow task again after the
    # visibility timeout, and makes a worker exit when the broker restarts.
    task_acks_late=False,
    task_reject_on_worker_lost=False,
    worker_disable_prefetch=True,
    worker_prefetch_multiplier=1,
    worker_cancel_long_running_tasks_on_connection_loss=False,
    worker_send_task_events=False,
    worker_hijack_root_logger=False,
    worker_soft_shutdown_timeout=30,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    task_publish_retry_policy={
        "max_retries": 1,
        "interval_start": 0,
        "interval_step": 0.1,
        "interval_max": 0.1,
    },
    broker_transport_options={
        "socket_timeout": 10,
        "socket_connect_timeout": 3,
        "priority_steps": list(range(10)),
        "queue_order_strategy": "round_robin",
    },
    task_create_missing_queues=False,
    task_queues=[KombuQueue(name, routing_key=name) for name in queue_names()],
    task_default_queue=Queue.AGGREGATE.value,
    task_default_exchange="annealq",
)


@setup_logging.connect
def _log(**_: object) -> None:
    configure()


@import_modules.connect
def _collect_no_garbage(**_: object) -> None:
    """Collect no garbage while modules are imported: that took a sixth of the time of a start."""
    gc.disable()


@worker_init.connect
def _collect_garbage(**_: object) -> None:
    """Collect garbage from now on, but not among imported modules."""
    gc.freeze()
    gc.enable()


@worker_init.connect
def _refuse_other_revision(**_: object) -> None:
    """Exit if the database has another revision: every task would fail."""
    from schema.database import Database

    database = Database(load().database_url)
    try:
        database.require_current()
    except (DatabaseOutdated, DatabaseTooNew) as error:
        sys.exit(f"error: {error}")
    except StorageError as error:
        sys.stderr.write(f"warning: {error}; waiting for it\n")
    finally:
        database.dispose()


@worker_init.connect
def _prepare_metrics(**_: object) -> None:
    """Prepare metrics before the pool forks."""
    from worker.process import prometheus

    settings = load_worker()
    if settings.metrics_port is not None:
        prometheus.prepare()


@worker_ready.connect
def _serve_metrics(**_: object) -> None:
    """Serve metrics after the pool has forked, so that its processes do not inherit the port."""
    from worker.process import prometheus

    settings = load_worker()
    if settings.metrics_port is None:
        return
    try:
        port = prometheus.serve(settings.metrics_host, settings.metrics_port)
    except StackError as error:
        sys.exit(f"error: {error}")
    log.info("metrics are served", host=settings.metrics_host, port=port)


@worker_process_init.connect
def _freeze_modules(**_: object) -> None:
    """Exclude imported modules from garbage collection, which took a sixth of the time of scoring."""
    gc.freeze()


@worker_process_init.connect
def _use_one_thread(**_: object) -> None:
    """Limit torch to one thread: there is one process per core."""
    import torch

    torch.set_num_threads(1)


@worker_process_init.connect
def _announce(**_: object) -> None:
    """Write the row of this process into the table of workers from now on, and that it stops at its end."""
    from schema.database import Database
    from worker.process.presence import Presence
    from worker.sapi.connections import SolverConnections

    solvers = SolverConnections(load_worker())
    presence = Presence(Database(load().database_url), solvers.accounts)
    worker_process_shutdown.connect(lambda **_: presence.end(), weak=False)


@worker_shutting_down.connect
def _request_shutdown(**_: object) -> None:
    shutdown.request()


@worker_shutdown.connect
def _exit_quickly(**_: object) -> None:
    """Skip garbage collection at exit, which would take seconds with torch loaded."""
    from worker.process import prometheus

    prometheus.remove()
    gc.freeze()
