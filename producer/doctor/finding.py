"""What the doctor finds, and what it says in the end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy.orm import Session

BACKUP = "restore the database from a backup"


class Repair(Protocol):
    """A decision how a finding can be put right, made from what was seen."""

    def apply(self, session: Session, now: datetime) -> None:
        """Write it, guarded, with a row in `events`.

        Raises:
            StaleState: the row is not as it was seen: somebody is at work on it.
        """


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be.

    row: the row's id; of classifications, which have none, that of their run; None: not about one row.
    repair: None where nothing can be done without a loss or without a person.
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
    """All findings, and how many rows of each table were looked at."""

    checked: Mapping[str, int]
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Nothing is wrong, or nothing any more."""
        return all(finding.repaired for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        return {
            "checked": dict(self.checked),
            "findings": [finding.to_dict() for finding in self.findings],
            "ok": self.ok,
        }


def join_names(names: Iterable[object], most: int = 5) -> str:
    """Names for people: the first few, and how many more."""
    held = list(names)
    more = f" and {len(held) - most:,} more" if len(held) > most else ""
    return ", ".join(map(str, held[:most])) + more
