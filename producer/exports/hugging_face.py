"""Writes a run as Parquet with pictures and classes, as Hugging Face's `datasets` reads and writes them.

Types are noted as JSON under the key ``huggingface`` of the schema, as `Features.to_dict` of `datasets` has
them: pictures are `Image` ({bytes, path}), classes `ClassLabel`, whose -1 is "unknown".
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from producer.exports.exported_run import ExportedRun, Item
from producer.exports.pictures import png
from producer.files import new_folder, replacing
from producer.reports.export import ABOUT, to_json
from producer.runs import results
from schema.errors import ParameterError

if TYPE_CHECKING:
    import pyarrow as pa

NOTED = "huggingface"
_UNKNOWN = -1
MOST_ROWS = 1_000  # of a row group: a reader decodes a whole one
_MOST_BYTES = 16 * 2**20  # of a row group, before it is compressed
SHARD_BYTES = 500 * 10**6  # of pictures or vectors; that of `datasets`
_KINDS = {bool: "bool", int: "int64", float: "float64", str: "string"}
_CLASSES = ("label", "prediction")
_LISTS = ("scores", "probabilities")
_REPLACED = ("image", "label", "true_class", "predicted", "predicted_class", "class_set")


class _Columns(NamedTuple):
    """The schema of Arrow, and the features that `datasets` knows, by column."""

    schema: pa.Schema
    features: dict[str, dict[str, Any]]


def write(run: ExportedRun, path: Path) -> str:
    """Write ``run`` to the file NAME.parquet ``path``, or to the folder ``path``; return how it is read.

    Raises:
        ParameterError: pyarrow is missing; the folder exists already, or it cannot be written.
        DiskFull: no space left.
    """
    if find_spec("pyarrow") is None:
        raise ParameterError("Parquet needs pyarrow: pip install 'annealq[parquet]'")
    if path.suffix.lower() == ".parquet":
        with replacing(path) as unfinished:
            _write_file(unfinished, run, _row_groups(run.images))
        return f'datasets.load_dataset("parquet", data_files={str(path)!r})'
    with new_folder(path) as folder:
        _write_shards(folder, run)
    return f"datasets.load_dataset({str(path)!r})"


def _write_shards(folder: Path, run: ExportedRun) -> None:
    """Write ``run`` to `data/train-00000-of-00002.parquet` and so on, as `datasets` finds them."""
    data = folder / "data"
    data.mkdir()
    groups, written = _row_groups(run.images), list[Path]()
    first = next(groups, None)
    while first is not None:
        path = data / f"{len(written):05d}.part"
        first = _write_file(path, run, groups, first, SHARD_BYTES)
        written.append(path)
    for number, path in enumerate(written):
        path.rename(data / f"train-{number:05d}-of-{len(written):05d}.parquet")


def _write_file(
    path: Path,
    run: ExportedRun,
    groups: Iterator[list[Item]],
    first: list[Item] | None = None,
    most_bytes: int | None = None,
) -> list[Item] | None:
    """Write ``first`` and the following row ``groups`` to ``path``; return the first that does not fit.

    ``most_bytes`` are those of the images of a file.
    """
    from pyarrow import parquet

    schema, features = _table(run)
    size = 0
    group = first if first is not None else next(groups, None)
    with path.open("wb") as file, _writing(parquet, file, schema) as writer:
        while group is not None:
            size += sum(values.nbytes for _, values in group)
            if size > (most_bytes or size) and group is not first:
                return group
            writer.write_table(_arrow(group, schema, features))
            group = next(groups, None)
    return None


@contextmanager
def _writing(parquet: Any, file: IO[bytes], schema: pa.Schema) -> Iterator[Any]:
    writer = parquet.ParquetWriter(file, schema)
    try:
        yield writer
    finally:
        writer.close()


def _row_groups(images: Iterator[Item]) -> Iterator[list[Item]]:
    group, size = list[Item](), 0
    for item in images:
        group.append(item)
        size += item[1].nbytes
        if len(group) >= MOST_ROWS or size >= _MOST_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _table(run: ExportedRun) -> _Columns:
    """Return the columns of ``run``."""
    import pyarrow as pa

    as_class = {"names": list(run.classes), "_type": "ClassLabel"}
    if run.shape.is_vector:
        kinds = {"features": pa.list_(pa.float32())}
        features = {"features": _list(_value("float32"), run.shape.count)}
    else:
        kinds = {"image": pa.struct({"bytes": pa.binary(), "path": pa.string()})}
        features = {"image": {"_type": "Image"}}
    for name in _CLASSES:
        kinds[name], features[name] = pa.int64(), dict(as_class)
    for name, kind in {"index": int, **results.columns(())}.items():
        if name not in _REPLACED:
            kinds[name] = pa.type_for_alias(_KINDS[kind])
            features[name] = _value(_KINDS[kind])
    kinds["class_set"], features["class_set"] = pa.list_(pa.int64()), _list(dict(as_class))
    for name in _LISTS:
        kinds[name] = pa.list_(pa.float32())
        features[name] = _list(_value("float32"), len(run.classes))
    noted = {NOTED: to_json({"info": {"features": features}}), ABOUT: to_json(run.about)}
    return _Columns(pa.schema(list(kinds.items()), noted), features)


def _value(kind: str) -> dict[str, Any]:
    return {"dtype": kind, "_type": "Value"}


def _list(feature: dict[str, Any], length: int = -1) -> dict[str, Any]:
    # `Sequence` is read by all versions of `datasets`; `List`, its name since 4.0, is not.
    return {"feature": feature, "length": length, "_type": "Sequence"}


def _arrow(group: list[Item], schema: pa.Schema, features: dict[str, dict[str, Any]]) -> pa.Table:
    import pyarrow as pa

    numbers = {name: number for number, name in enumerate(features["label"]["names"])}
    rows = [_row(row, values, numbers) for row, values in group]
    arrays = [pa.array([row[field.name] for row in rows], field.type) for field in schema]
    return pa.Table.from_arrays(arrays, schema=schema)


def _row(row: dict[str, Any], values: Any, numbers: dict[str, int]) -> dict[str, Any]:
    """Return what is written of an image; ``numbers`` are those of the classes."""
    held = row["class_set"]
    replaced = {
        "index": row["image"],
        "label": _UNKNOWN if row["label"] is None else row["label"],
        "prediction": _UNKNOWN if row["predicted"] is None else row["predicted"],
        "class_set": None if held is None else [numbers[name] for name in held],
    }
    if values.ndim == 1:
        return row | replaced | {"features": values}
    return row | replaced | {"image": {"bytes": png(values), "path": row["source"]}}
