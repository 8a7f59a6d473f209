"""Lists of numbers in a column, or lists of such lists, all of equal length -> one array."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from schema.errors import ImageError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def is_list(kind: Any) -> bool:
    """Return whether values of the Arrow type ``kind`` are lists."""
    import pyarrow as pa

    types = pa.types
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def is_vector(kind: Any) -> bool:
    """Return whether values of the Arrow type ``kind`` are lists of numbers."""
    import pyarrow as pa

    stored = storage_type(kind)
    return is_list(stored) and (
        pa.types.is_floating(stored.value_type) or pa.types.is_integer(stored.value_type)
    )


def storage_type(kind: Any) -> Any:
    """Return the type in which values of the Arrow type ``kind`` are stored."""
    import pyarrow as pa

    return kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind


def storage(column: Any) -> Any:
    """Return the Arrow array ``column`` as it is stored."""
    import pyarrow as pa

    return column.storage if isinstance(column, pa.ExtensionArray) else column


def read_lists(column: Any, first: int, name: str, what: str) -> tuple[Any, tuple[int, ...]]:
    """Return the numbers in ``column``, as an Arrow array without lists, and the shape of each row.

    Args:
        column: an Arrow array of lists, or of lists in lists, checked by Arrow; at least one row.
        first: the row of its first value, for messages.
        name: of the table, for messages.
        what: a row holds, for messages.

    Raises:
        ImageError: a list or number is missing, or lists have different lengths.
    """
    shape: list[int] = []
    values, per_row = storage(column), 1
    while is_list(values.type):
        _refuse_missing(values, per_row, first, name, what if per_row == 1 and not shape else "list")
        lengths = _lengths(values)
        width = int(lengths[0]) if len(lengths) else 0
        if (lengths != width).any():
            wrong = int(np.argmax(lengths != width))
            raise ImageError(
                f"{name} has {width:,} values in row {first:,} and {lengths[wrong]:,} in row "
                f"{first + wrong // per_row:,}: give all {what}s one length"
            )
        shape.append(width)
        if width == 0:
            break
        values, per_row = values.flatten(), per_row * width
    _refuse_missing(values, per_row, first, name, "value")
    return values, tuple(shape)


def _refuse_missing(values: Any, per_row: int, first: int, name: str, what: str) -> None:
    if values.null_count:
        row = first + values.is_null().index(True).as_py() // per_row
        article = "no" if per_row == 1 and what != "value" else "a missing"
        raise ImageError(f"{name} has {article} {what} in row {row:,} (counted from 0): add or drop it")


def _lengths(column: Any) -> NDArray[np.int64]:
    import pyarrow as pa

    if pa.types.is_fixed_size_list(column.type):
        return np.full(len(column), column.type.list_size, np.int64)
    lengths: NDArray[np.int64] = column.value_lengths().to_numpy(zero_copy_only=False)
    return lengths
