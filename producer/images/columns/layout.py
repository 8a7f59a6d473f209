"""Chooses the columns of images and labels by types, names and what Hugging Face's `datasets` has noted."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from producer.images.columns.lists import is_vector
from producer.images.columns.pixels import PixelColumn, is_fixed_bytes, pixel_column, state_shape
from producer.images.limits import MAX_LABEL
from producer.images.stream import printable
from schema.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from producer.images.columns.files.table import Table

IMAGES = ("image", "images", "img", "picture", "x")
"""Names of a column of pictures, tried in turn if there are several such columns."""

VECTORS = ("features", "vector", "embedding", "embeddings", "x")
"""The same of vectors."""

LABELS = ("label", "labels", "class", "target", "y", "fine_label")
"""Names of a column of labels; the first that a table has is taken."""

METADATA = b"huggingface"
"""Key of the schema's metadata under which `datasets` notes its features, as JSON."""

MAX_METADATA_BYTES = 8 * 2**20
"""Bytes of such JSON: 65,536 class names of 100 letters, with room to spare."""


@dataclass(frozen=True)
class Layout:
    """Columns to read.

    Attributes:
        images: name of the column of pictures, pixels or vectors.
        is_vectors: they are lists of numbers.
        pixels: how pixels are read, if they are that.
        has_paths: pictures have a field ``path`` next to ``bytes``.
        labels: name of the column of labels, or None.
        classes: names of the classes, if `datasets` has noted them.
        remarks: on columns that may be others than the user means.
    """

    images: str
    is_vectors: bool
    pixels: PixelColumn | None
    has_paths: bool
    labels: str | None
    classes: tuple[str, ...] | None
    remarks: tuple[str, ...]

    @property
    def columns(self) -> list[str]:
        """Return the names of all columns to read."""
        return [self.images] if self.labels is None else [self.images, self.labels]


class Columns(NamedTuple):
    """A table, and which of its columns are read."""

    table: Table
    layout: Layout


def choose_columns(schema: Any, noted: Mapping[str, Any], name: str) -> Layout:
    """Return the columns of ``schema``, of Arrow, that hold images and labels.

    Args:
        schema: of the table ``name``.
        noted: features by column, as `noted_features` returns them.
        name: for messages.

    Raises:
        ImageError: no column or several ones may hold the images, or its type is not one that is read.
    """
    types = {field.name: field.type for field in schema}
    if len(types) < len(schema):
        raise ImageError(f"{name} has two columns of the same name: rename one")
    pixels = {field.name: found for field in schema if (found := pixel_column(field, noted.get(field.name)))}
    images = _image_column(types, noted, pixels, name)
    if images in pixels and (problem := pixels[images].problem):
        raise ImageError(f"{name} {problem}")
    is_picture = images not in pixels and _is_encoded(types[images])
    labels, remarks = _label_column(types, noted)
    classes = _class_names(noted.get(labels), name) if labels is not None else None
    return Layout(
        images,
        is_vectors=images not in pixels and not is_picture,
        pixels=pixels.get(images),
        has_paths=is_picture and "path" in _children(types[images]),
        labels=labels,
        classes=classes,
        remarks=remarks,
    )


def _image_column(
    types: Mapping[str, Any], noted: Mapping[str, Any], pixels: Mapping[str, PixelColumn], name: str
) -> str:
    """Return the column to read: of pictures, or of pixels whose shape is stated, else of lists.

    Raises:
        ImageError: there is none, or several may be meant.
    """
    pictures = _pictures(types, noted)
    if not any(_noted_type(noted.get(column)) == "Image" for column in pictures):
        pictures = [
            column
            for column in types
            if column in pictures or (column in pixels and pixels[column].is_stated)
        ]
    if pictures:
        return _pick(pictures, IMAGES, name)
    small = [column for column, found in pixels.items() if found.has_pixel_type]
    lists = [column for column in types if column in small or is_vector(types[column])] or list(pixels)
    if lists:
        return _pick(lists, (*IMAGES, *VECTORS), name)
    raw = next((column for column, kind in types.items() if is_fixed_bytes(kind)), None)
    if raw is not None:
        raise state_shape(name, raw)
    raise ImageError(f"{name} has no column of pictures or vectors ({_described(types)}): {_WAY_OUT}")


def noted_features(metadata: Mapping[bytes, bytes] | None, name: str) -> Mapping[str, Any]:
    """Return the features by column that `datasets` wrote into the ``metadata`` of a schema.

    Raises:
        ImageError: they are not the JSON that `datasets` writes.
    """
    raw = (metadata or {}).get(METADATA)
    if raw is None:
        return {}
    return parse_features(raw, ("info", "features"), name)


def parse_features(raw: bytes, path: tuple[str, ...], name: str) -> Mapping[str, Any]:
    """Return the object at ``path`` in the JSON ``raw``; raise ImageError if it is not there."""
    try:
        if len(raw) > MAX_METADATA_BYTES:
            raise ValueError
        found = json.loads(raw)
        for key in path:
            found = found[key]
        if not isinstance(found, dict):
            raise TypeError
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise ImageError(
            f"{name} has notes of Hugging Face's datasets that are damaged or too long: write it again"
        ) from error
    return found


_WAY_OUT = (
    "give pictures as bytes of PNG or JPEG files, as the feature Image of `datasets`, pixels as lists of "
    "rows of uint8, or vectors as lists of numbers"
)


def _pictures(types: Mapping[str, Any], noted: Mapping[str, Any]) -> list[str]:
    images = [column for column in types if _noted_type(noted.get(column)) == "Image"]
    chosen = images or list(types)
    return [column for column in chosen if _is_encoded(types[column])]


def _noted_type(feature: object) -> object:
    return feature.get("_type") if isinstance(feature, dict) else None


def _is_encoded(kind: Any) -> bool:
    """Return whether values of this type may be the bytes of picture files."""
    import pyarrow as pa

    children = _children(kind)
    inner = children.get("bytes", kind)
    return bool(pa.types.is_binary(inner) or pa.types.is_large_binary(inner))


def _children(kind: Any) -> dict[str, Any]:
    import pyarrow as pa

    if not pa.types.is_struct(kind):
        return {}
    return {kind.field(k).name: kind.field(k).type for k in range(kind.num_fields)}


def _pick(columns: list[str], names: tuple[str, ...], name: str) -> str:
    if len(columns) == 1:
        return columns[0]
    by_name = {column.lower(): column for column in columns}
    known = next((by_name[each] for each in names if each in by_name), None)
    if known is None:
        offered = ", ".join(repr(printable(column)) for column in sorted(columns)[:8])
        raise ImageError(
            f"{name} has several columns that may hold images ({offered}): drop all but one, or call the one "
            f"to read {names[0]!r}"
        )
    return known


def _label_column(types: Mapping[str, Any], noted: Mapping[str, Any]) -> tuple[str | None, tuple[str, ...]]:
    by_name = {column.lower(): column for column in reversed(list(types))}
    noted_labels = [column for column in types if _noted_type(noted.get(column)) == "ClassLabel"]
    known = next((by_name[each] for each in LABELS if each in by_name), None)
    chosen = known if known is not None else noted_labels[0] if len(noted_labels) == 1 else None
    others = [repr(printable(column)) for column in noted_labels if column != chosen]
    remarks = []
    if chosen is not None and chosen != LABELS[0]:
        remarks.append(f"labels are those of column {printable(chosen)!r}")
    if others:
        what = "also holds" if chosen is not None else "may hold"
        remarks.append(f"column {', '.join(others)} {what} labels; the one called 'label' is read")
    return chosen, tuple(remarks)


def _class_names(feature: object, name: str) -> tuple[str, ...] | None:
    if not isinstance(feature, dict) or feature.get("_type") != "ClassLabel" or feature.get("names") is None:
        return None
    names = feature["names"]
    is_valid = isinstance(names, list) and all(isinstance(each, str) and each for each in names)
    if not is_valid or not 0 < len(names) <= MAX_LABEL + 1 or len(set(names)) < len(names):
        raise ImageError(
            f"{name} has class names that are not different texts, at most {MAX_LABEL + 1:,}: write it again"
        )
    return tuple(printable(each) for each in names)


def _described(types: Mapping[str, Any]) -> str:
    described = [f"{printable(column)}: {printable(kind)}"[:80] for column, kind in list(types.items())[:8]]
    return ", ".join(described) + (", ..." if len(types) > len(described) else "") or "it has no columns"
