"""Results of a run as columns in a safetensors file, and where two such files differ."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from schema.codecs import arrays
from worker.proof.container.archive import DamagedPart
from worker.proof.documents import RESULTS
from worker.records.batches import Scored

Columns = Mapping[str, NDArray[Any]]

STATUSES = ("decided", "tied", "undecided")
_NONE, _NO_EARLIER = -1, -2
# One value for each image; for those that have several, see `columns`.
_DTYPES = {
    "image": "<i4",
    "predicted": "<i2",  # -1: undecided
    "label": "<i2",  # -1: not known
    "status": "u1",  # its place in STATUSES
    "margin": "<f8",
    "one_hot_fraction": "<f8",
    "lowest_energy": "<f8",
    "chain_break_fraction": "<f8",  # NaN: no qubits
    "energy_gap": "<f8",  # NaN: none
    "reads": "<i4",
    "earlier_predicted": "<i2",  # -1: undecided, -2: none
    "set_size": "<i2",  # 0: no set
}


def columns(rows: Mapping[int, Scored], classes: int) -> dict[str, NDArray[Any]]:
    """Return ``rows``, by image within the run, as columns in the order of the images.

    There are also ``scores`` (N, ``classes``) float32, and ``class_set``
    (N, bytes) uint8. Probabilities follow from network and features alone.

    Raises:
        Corrupt: bytes of a row are damaged.
    """
    images = sorted(rows)
    ordered = [rows[image] for image in images]
    values = {"image": images} | {name: [_value(row, name) for row in ordered] for name in list(_DTYPES)[1:]}
    found: dict[str, NDArray[Any]] = {
        name: np.array(values[name], dtype=np.dtype(dtype)) for name, dtype in _DTYPES.items()
    }
    scores = [row.scores for row in ordered]
    found["scores"] = arrays.decode_scores(scores, classes) if scores else np.zeros((0, classes), "<f4")
    size = -(-classes // 8)
    packed = b"".join(row.class_set or bytes(size) for row in ordered)
    found["class_set"] = np.frombuffer(packed, np.uint8).reshape(len(ordered), size)
    return found


def encode(found: Columns) -> bytes:
    """Encode ``found`` as safetensors; equal columns give equal bytes."""
    return save({name: np.ascontiguousarray(found[name]) for name in sorted(found)})


def decode(data: bytes, classes: int) -> dict[str, NDArray[Any]]:
    """Decode ``data``, the content of the file of results; never unpickle.

    Raises:
        DamagedPart: it is not what `encode` returns, or the images are not in ascending order.
    """
    try:
        found: dict[str, NDArray[Any]] = load(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise DamagedPart(RESULTS, f"is not a valid safetensors file: {error!s:.100}") from None
    number = len(found.get("image", ()))
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(_DTYPES, (number,))
    shapes |= {"scores": (number, classes), "class_set": (number, -(-classes // 8))}
    types = _DTYPES | {"scores": "<f4", "class_set": "u1"}
    for name, shape in shapes.items():
        if name not in found or found[name].shape != shape or found[name].dtype != np.dtype(types[name]):
            raise DamagedPart(RESULTS, f"has no column {name} of {shape} {types[name]}")
    if set(found) != set(shapes) or encode(found) != data:
        raise DamagedPart(RESULTS, "has more than the columns of results")
    if number and (found["image"][0] < 0 or (np.diff(found["image"]) <= 0).any()):
        raise DamagedPart(RESULTS, "does not list images in ascending order")
    return found


def differences(ours: Columns, theirs: Columns, near: Collection[str], within: float) -> list[str]:
    """Return which columns of the results ``theirs`` differ from ``ours``, and at which image first.

    Args:
        near: columns that may differ by ``within``; all others are compared bit for bit.
    """
    images: NDArray[np.int32] = theirs["image"]
    if not np.array_equal(ours["image"], images):
        return [f"image: {len(images)} images are classified, and {len(ours['image'])} have reads"]
    found = []
    for name, column in theirs.items():
        mine = ours[name]
        if name in near:
            same = np.isclose(mine, column, rtol=0.0, atol=within, equal_nan=True)
        else:
            same = mine.view(f"u{mine.itemsize}") == column.view(f"u{column.itemsize}")
        wrong = np.flatnonzero(~same.reshape(len(images), -1).all(axis=1)).tolist() if len(images) else []
        if wrong:
            first = wrong[0]
            found.append(
                f"{name} of {len(wrong)} images; of image {images[first]} it is "
                f"{_shown(column[first])}, and {_shown(mine[first])} by its reads"
            )
    return found


def _value(row: Scored, name: str) -> float | int:
    value = getattr(row, name)
    if name == "status":
        return STATUSES.index(value)
    if value is not None:
        return value  # type: ignore[no-any-return]
    if name in ("predicted", "label"):
        return _NONE
    if name == "earlier_predicted":
        return _NO_EARLIER
    return math.nan if _DTYPES[name] == "<f8" else 0


def _shown(value: NDArray[Any]) -> str:
    items: Sequence[Any] = np.ravel(value).tolist()
    return repr(items[0]) if len(items) == 1 else f"{items!r:.80}"
