"""Loads pyarrow, and turns its errors into ImageError."""

from __future__ import annotations

from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from producer.images.stream import printable
from schema.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MOST_SAID = 200
"""Characters of a message of pyarrow; it may quote the file."""


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


def load_pyarrow(name: str) -> None:
    """Import pyarrow and its Parquet module; raise ImageError about ``name`` if it is missing."""
    try:
        import_module("pyarrow")
        import_module("pyarrow.parquet")
    except ImportError as error:
        raise ImageError(
            f"{name} needs pyarrow, which is not installed: pip install 'annealq[parquet]'"
        ) from error


@contextmanager
def translate_pyarrow(name: str) -> Iterator[None]:
    """Raise ImageError about ``name`` instead of the errors of pyarrow, whatever the file makes it raise."""
    import pyarrow as pa

    try:
        yield
    except pa.ArrowMemoryError as error:
        raise MemoryError from error
    except (pa.ArrowException, OSError, UnicodeDecodeError, OverflowError, KeyError) as error:
        said = printable(" ".join(str(error).split()))[:MOST_SAID]
        raise ImageError(
            f"{name} is damaged or of an unknown kind ({said}): fetch or write it again"
        ) from error
