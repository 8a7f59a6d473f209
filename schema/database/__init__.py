"""The database: transactions, its clock, and guarded moves of a row from state to state."""

from __future__ import annotations

from schema.database.transactions import Clock, Database, read_revision, refuse_newer, utc_now
from schema.database.transitions import advance, advance_all, advance_each, note

__all__ = [
    "Clock",
    "Database",
    "advance",
    "advance_all",
    "advance_each",
    "note",
    "read_revision",
    "refuse_newer",
    "utc_now",
]
