"""The database: transactions, its clock, and guarded moves of a row from state to state."""

from __future__ import annotations

from schema.database.transactions import Clock, Database, read_revision, refuse_newer, utc_now
from schema.database.transitions import (
    record_event,
    transition,
    transition_all,
    transition_each,
    transition_if,
)

__all__ = [
    "Clock",
    "Database",
    "read_revision",
    "record_event",
    "refuse_newer",
    "transition",
    "transition_all",
    "transition_each",
    "transition_if",
    "utc_now",
]
