"""Rows of columns in files, whatever their format."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Table(Protocol):
    """Rows of columns in one or several files, which are read in small batches."""

    @property
    def name(self) -> str:
        """Return the name of the source, for messages."""

    @property
    def schema(self) -> Any:
        """Return the Arrow schema that all files share."""

    @property
    def counts(self) -> tuple[int, ...]:
        """Return the number of rows of each file."""

    @property
    def paths(self) -> tuple[str, ...]:
        """Return the path of each file."""

    def batches(
        self, columns: list[str], first: int, announce: Callable[[int], None]
    ) -> Iterator[tuple[int, int, Any]]:
        """Yield record batches of ``columns`` from row ``first`` on, each with its file and first row.

        ``announce`` is called with the bytes of memory that a batch may need, before it is read.

        Raises:
            ImageError: a file is damaged, hostile or has changed.
        """
