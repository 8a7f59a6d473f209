"""The database: transactions, its clock, and guarded transitions of rows from state to state.

engine.py        connects to SQLite and PostgreSQL
transactions.py  opens transactions, maps errors, checks the revision
transitions.py   performs guarded transitions and records them in `events`
actors.py        who acts: the actor and the request of events
new_runs.py      inserts a run with its batches, and adds batches to one that is being read
renderings.py    stored charts and reports, and charts that workers are asked for
backups.py       copies a SQLite database while it is in use
disk.py          finds out whether the disk of a database is full
rows.py          copies rows into dataclasses, writes many at once
crash_points.py  instants around transactions at which tests kill a process
leader_lease.py  elects one leader among processes of a kind
"""

from __future__ import annotations

from schema.database.actors import act_as, acting
from schema.database.leader_lease import process_name
from schema.database.rows import copy_row, upsert_plain
from schema.database.transactions import Clock, Database, read_revision, refuse_newer, utc_now
from schema.database.transitions import (
    record_action,
    record_event,
    transition,
    transition_all,
    transition_each,
    transition_if,
)

__all__ = [
    "Clock",
    "Database",
    "act_as",
    "acting",
    "copy_row",
    "process_name",
    "read_revision",
    "record_action",
    "record_event",
    "refuse_newer",
    "transition",
    "transition_all",
    "transition_each",
    "transition_if",
    "upsert_plain",
    "utc_now",
]
