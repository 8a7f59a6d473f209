"""Findings of the doctor, and its diagnosis."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy.orm import Session

BACKUP = "restore the database from a backup"


class Repair(Protocol):
    """A way to correct a finding, decided from the rows as they were read."""

    def apply(self, session: Session, now: datetime) -> None:
        """Write it in ``session``, guarded, with a row in `events` at ``now``.

        Raises:
            StaleState: the row has changed since it was read.
        """


@dataclass(frozen=True)
class Finding:
    """One inconsistency.

    Attributes:
        row: id of the row; for classifications, which have none, that of their run; None: several rows.
        repair: None if nothing can be done without a loss, or without a user.
    """

    check: str
    table: str
    row: int | None
    what: str
    hint: str
    repair: Repair | None = None
    repaired: bool = False

    def to_dict(self) -> dict[str, Any]:
        return {
            "check": self.check,
            "table": self.table,
            "row": self.row,
            "what": self.what,
            "way_out": self.hint,
            "repairable": self.repair is not None,
            "repaired": self.repaired,
        }


@dataclass(frozen=True)
class Diagnosis:
    """All findings, the number of checked rows by table, and notes on what is not wrong."""

    checked: Mapping[str, int]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Return whether nothing is wrong, or all of it is repaired."""
        return all(finding.repaired for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        return {
            "checked": dict(self.checked),
            "findings": [finding.to_dict() for finding in self.findings],
            "notes": list(self.notes),
            "ok": self.ok,
        }


def join_names(names: Iterable[object], most: int = 5) -> str:
    """Return the first ``most`` ``names`` as text, and the number of the others."""
    texts = list(map(str, names))
    more = f" and {len(texts) - most:,} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more
