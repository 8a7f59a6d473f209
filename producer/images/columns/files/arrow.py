"""Reads the rows of Arrow streams, as `save_to_disk` of Hugging Face's `datasets` writes them."""

from __future__ import annotations

import json
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from producer.images.columns.files.messages import SavedBatch, find_messages
from producer.images.columns.pyarrow_errors import translate_pyarrow
from producer.images.stream import open_regular, printable, refuse_exit, translate_errors
from schema.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

STATE, SPLITS = "state.json", "dataset_dict.json"
"""Files that `save_to_disk` writes: of each data set, and of several splits."""

MAX_STATE_BYTES = 2**20
"""Bytes of one of them; it names the shards."""


class ArrowTable:
    """The rows of one or several Arrow streams of the same columns, one after the other."""

    def __init__(self, name: str, paths: Sequence[Path]) -> None:
        """Find the record batches of all files in ``paths``, in the order of their rows.

        Raises:
            ImageError: a file is not an Arrow stream, damaged or compressed, or columns differ.
        """
        import pyarrow as pa

        self.name, self._files = name, tuple(paths)
        self.paths = tuple(map(printable, paths))
        self.schema: Any = None
        messages: list[tuple[SavedBatch, ...]] = []
        for path in paths:
            with translate_pyarrow(printable(path)), open_regular(path) as file:
                raw, found = find_messages(file, printable(path))
                schema = pa.ipc.read_schema(pa.py_buffer(raw))
            if self.schema is not None and not schema.equals(self.schema):
                raise ImageError(
                    f"{printable(path)} has other columns than {self.paths[0]}: give files of one set"
                )
            self.schema = schema
            messages.append(tuple(found))
        self._messages = tuple(messages)
        self.counts = tuple(sum(each.rows for each in found) for found in messages)

    def batches(
        self, columns: list[str], first: int, announce: Callable[[int], None]
    ) -> Iterator[tuple[int, int, Any]]:
        """Yield record batches of ``columns`` from row ``first`` on, as `Table.batches` does."""
        starts = accumulate(self.counts, initial=0)
        for shard, (path, start, messages) in enumerate(
            zip(self._files, starts, self._messages, strict=False)
        ):
            if start + self.counts[shard] <= first:
                continue
            row = start
            with translate_pyarrow(printable(path)), open_regular(path) as file:
                if find_messages(file, printable(path))[1] != list(messages):
                    raise ImageError(f"{printable(path)} changed while it was read: try again")
                for message in messages:
                    if first < row + message.rows:
                        announce(2 * message.size)
                        file.seek(message.start)
                        batch = self._decode(file.read(message.size), columns)
                        yield shard, max(first, row), batch.slice(max(first - row, 0))
                    row += message.rows

    def _decode(self, data: bytes, columns: list[str]) -> Any:
        import pyarrow as pa

        message = pa.ipc.read_message(pa.py_buffer(data))
        batch = pa.ipc.read_record_batch(message, self.schema).select(columns)
        batch.validate(full=True)  # nothing is checked before: offsets may lead out of the message
        return batch


def saved_splits(folder: Path) -> dict[str, list[Path]]:
    """Return the files by split in a folder that `save_to_disk` wrote; an empty text for a data set alone.

    Raises:
        ImageError: a file is missing or damaged, outside of the folder, or rows were chosen or reordered
            without being written.
    """
    if (folder / STATE).is_file():
        return {"": _files(folder, folder)}
    splits = _read_json(folder / SPLITS, folder).get("splits")
    names = splits if isinstance(splits, list) else []
    if not names or not all(isinstance(name, str) and _is_plain(name) for name in names):
        raise ImageError(f"{printable(folder / SPLITS)} does not name the splits: save the data set again")
    return {name: _files(folder / name, folder) for name in names}


def is_saved(folder: Path) -> bool:
    """Return whether ``folder`` looks as `save_to_disk` leaves it."""
    with translate_errors(folder):
        return (folder / STATE).is_file() or (folder / SPLITS).is_file()


def _files(folder: Path, root: Path) -> list[Path]:
    state = _read_json(folder / STATE, root)
    if state.get("_indices_data_files") or state.get("_indices_files"):
        raise ImageError(
            f"{printable(folder)} has rows that were chosen or reordered, and not written so (_indices): "
            "call data.flatten_indices(), then save_to_disk again"
        )
    listed = state.get("_data_files")
    entries = listed if isinstance(listed, list) else []
    names = [entry.get("filename") if isinstance(entry, dict) else None for entry in entries]
    if not names or not all(isinstance(name, str) and _is_plain(name) for name in names):
        raise ImageError(
            f"{printable(folder / STATE)} does not name files in its folder: save the data set again"
        )
    paths = [folder / str(name) for name in names]
    for path in paths:
        refuse_exit(path, root)
    return paths


def _is_plain(name: str) -> bool:
    return bool(name.strip(".")) and not set(name) & {"/", "\\", "\0"}


def _read_json(path: Path, root: Path) -> dict[str, Any]:
    refuse_exit(path, root)
    with open_regular(path) as file:
        data = file.read(MAX_STATE_BYTES + 1)
    try:
        if len(data) > MAX_STATE_BYTES:
            raise ValueError
        found = json.loads(data)
        if not isinstance(found, dict):
            raise TypeError
    except (ValueError, TypeError, RecursionError) as error:
        raise ImageError(f"{printable(path)} is damaged or too long: save the data set again") from error
    return found
