"""Tables of pages: columns and rows as values, which one template writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Link:
    """A cell that leads to ``address`` below the root."""

    text: str
    address: str
    about: str = ""  # for screen readers, instead of the text


@dataclass(frozen=True)
class Mark:
    """A cell with a word whose colour is that of a ``kind``: right, wrong, soft, or a state of runs."""

    text: str
    kind: str


@dataclass(frozen=True)
class Button:
    """A cell with a button that sends ``fields`` to ``address`` below the root."""

    text: str
    address: str
    about: str  # for screen readers: what the button changes
    fields: tuple[tuple[str, str], ...] = ()


Cell = str | int | float | datetime | Link | Mark | Button | None


@dataclass(frozen=True)
class PageTable:
    """A table. Numbers and their columns are aligned right; the first column names the row.

    Attributes:
        title: heading above the table; empty for none.
        caption: what the rows are, for display.
        columns: names of the columns; empty for a column of buttons.
        empty: text instead of a table without rows.
    """

    title: str
    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    empty: str

    @property
    def numeric(self) -> list[bool]:
        """Return for each column whether it holds numbers."""
        return [
            any(isinstance(row[k], int | float) for row in self.rows)
            and all(row[k] is None or isinstance(row[k], int | float) for row in self.rows)
            for k in range(len(self.columns))
        ]


def kind_of(cell: Cell) -> str:
    """Return the name of the type of ``cell``, for the template."""
    return "number" if isinstance(cell, int | float) else type(cell).__name__.lower()
