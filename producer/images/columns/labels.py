"""Checks all labels of a table before its first image is read, and numbers those that are text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from producer.images.limits import MAX_LABEL
from producer.images.pictures.entry import sort_classes
from producer.images.pieces.numbering import MAX_CLASS_NAME, whole_numbers
from producer.images.stream import printable
from schema.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from producer.images.columns.files.table import Table

_UNKNOWN = -1  # what `datasets` writes where the label is not known, as for test data


@dataclass(frozen=True)
class ColumnLabels:
    """How the labels of a column are read.

    Attributes:
        column: its name; None: the rows are unlabelled.
        classes: names of the classes, if known.
        numbers: the label of each text, for labels that are text.
    """

    column: str | None
    classes: tuple[str, ...] | None = None
    numbers: dict[str, int] | None = None

    def read(self, values: Any, first: int, name: str) -> NDArray[np.int64]:
        """Return the labels in ``values``, of Arrow, whose first is that of row ``first``.

        Raises:
            ImageError: one is missing, not a whole number in range, or a text that was not there before.
        """
        if self.numbers is None:
            labels = whole_numbers(_numbers(values, first, name), first, name)
            if self.classes is not None and int(labels.max()) >= len(self.classes):
                row = int(np.argmax(labels >= len(self.classes)))
                raise ImageError(
                    f"{name} has label {labels[row]} in row {first + row:,} and {len(self.classes):,} class "
                    "names: make them agree"
                )
            return labels
        try:
            return np.array([self.numbers[text] for text in _texts(values, first, name)], np.int64)
        except KeyError as error:
            raise ImageError(f"{name} changed while it was read: try again") from error


def check_labels(
    table: Table, column: str | None, classes: tuple[str, ...] | None, announce: Callable[[int], None]
) -> tuple[ColumnLabels, str | None]:
    """Return how to read the labels in ``column`` of ``table``, all of which are checked, and a remark.

    Args:
        table: is read once, of this column only.
        column: of whole numbers, or of text, whose classes are its sorted values; None: no labels.
        classes: names of the classes, if they are known.
        announce: as `Table.batches` has it.

    Raises:
        ImageError: a label is missing or out of range; the type is another; too many different texts.
    """
    if column is None:
        return ColumnLabels(None), None
    kind = _value_type(table.schema.field(column).type, table.name, column)
    if kind == "text":
        texts = _different_texts(table, column, announce)
        names = sort_classes(list(texts))
        shown = tuple(printable(each) for each in names)
        return ColumnLabels(column, shown, {text: k for k, text in enumerate(names)}), None
    if _all_unknown(table, column, announce):
        return ColumnLabels(None), f"labels of column {printable(column)!r} are -1, unknown, and not read"
    labels = ColumnLabels(column, classes)
    for _, first, batch in table.batches([column], 0, announce):
        labels.read(batch.column(0), first, table.name)
    return labels, None


def _value_type(kind: Any, name: str, column: str) -> str:
    import pyarrow as pa

    types = pa.types
    inner = kind.value_type if types.is_dictionary(kind) else kind
    if types.is_string(inner) or types.is_large_string(inner):
        return "text"
    if types.is_integer(inner) or types.is_floating(inner) or types.is_boolean(inner):
        return "number"
    raise ImageError(
        f"{name} has labels of type {printable(kind)[:80]} in column {printable(column)!r}: give one whole "
        "number or text per row"
    )


def _decoded(values: Any, first: int, name: str) -> Any:
    import pyarrow as pa

    if values.null_count:
        row = first + values.is_null().index(True).as_py()
        raise ImageError(f"{name} has no label in row {row:,} (counted from 0): add or drop it")
    return values.dictionary_decode() if pa.types.is_dictionary(values.type) else values


def _numbers(values: Any, first: int, name: str) -> NDArray[np.generic]:
    numbers: NDArray[np.generic] = _decoded(values, first, name).to_numpy(zero_copy_only=False)
    return numbers.astype(np.uint8) if numbers.dtype == np.bool_ else numbers


def _texts(values: Any, first: int, name: str) -> list[str]:
    try:
        texts: list[str] = _decoded(values, first, name).to_pylist()
    except UnicodeDecodeError as error:
        raise ImageError(f"{name} has labels that are not UTF-8 text: write it again") from error
    return texts


def _different_texts(table: Table, column: str, announce: Callable[[int], None]) -> set[str]:
    texts: set[str] = set()
    for _, first, batch in table.batches([column], 0, announce):
        texts.update(_texts(batch.column(0), first, table.name))
        longest = max(texts, key=len, default="")
        if len(texts) > MAX_LABEL + 1 or len(longest) > MAX_CLASS_NAME:
            raise ImageError(
                f"{table.name} has more than {MAX_LABEL + 1:,} different labels, or one of more than "
                f"{MAX_CLASS_NAME:,} letters, in column {printable(column)!r}: give the names of classes"
            )
    return texts


def _all_unknown(table: Table, column: str, announce: Callable[[int], None]) -> bool:
    for _, first, batch in table.batches([column], 0, announce):
        if len(batch) and (_numbers(batch.column(0), first, table.name) != _UNKNOWN).any():
            return False
    return sum(table.counts) > 0
