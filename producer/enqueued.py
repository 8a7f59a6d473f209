"""The result of an insert that may find the row already there: shared by runs, networks and calibrations."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Enqueued:
    """The id of the row, and whether this call inserted it."""

    id: int
    created: bool
