"""Workers as a table."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rich.table import Table

from producer.progress.workers import WorkerSummary
from producer.reports.terminal import new_table
from schema.quantities import duration_text

NO_WORKER = "no worker is alive: start workers with `annealq up`, or use --embedded"


def workers_table(workers: Sequence[WorkerSummary], now: datetime) -> Table:
    """Return the table of ``workers``; durations are up to ``now``."""
    columns = ("host", "process", "state", "task", "run", "batch", "for", "solvers", "up", "seen", "version")
    numbers = ("process", "run", "batch", "for", "up", "seen")
    left_out = ("version", "solvers", "seen", "host", "up", "batch", "process")
    table = new_table(*columns, right=numbers, first_out=left_out)
    for worker in workers:
        until = now if worker.is_alive else worker.stopped_at or worker.seen_at
        since = worker.task_since if worker.is_alive else until
        table.add_row(
            worker.host,
            str(worker.pid),
            worker.state,
            worker.task or "",
            "" if worker.run_id is None else str(worker.run_id),
            "" if worker.batch_id is None else str(worker.batch_id),
            "" if since is None else _age(since, now),
            ", ".join(worker.solvers),
            _age(worker.started_at, until),
            f"{_age(worker.seen_at, now)} ago",
            worker.version,
        )
    return table


def _age(since: datetime, now: datetime) -> str:
    return duration_text((now - since).total_seconds())
