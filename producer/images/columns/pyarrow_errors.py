"""Turns errors of pyarrow into ImageError, and says how to install it."""

from __future__ import annotations

from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING

from producer.images.stream import printable
from schema.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_SAID = 200
"""Characters of a message of pyarrow; it may quote the file."""


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
