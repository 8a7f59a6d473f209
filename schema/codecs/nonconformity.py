"""The format of the nonconformity of validation images: their labels, and a score for each plan of reads.

A plan is how often each image is read: `plan_name` of parameters, such as `[20]`, or `[20, [50, 1.0]]` with a
second round of 50 reads of images with a gap below 1. All numbers are little-endian:

    offset  bytes  content
         0      4  the letters `AQNC`
         4      4  CRC-32 of all that follows
         8      4  images, N
        12      4  plans, P
        16      4  bytes of the names of plans, L

Then follow the names (L bytes of JSON, a list), labels (N,) int16, and scores (P, N) float64, each 0 or more,
inf included.

>>> data = encode(Nonconformity(np.array([3, 1]), {"[20]": np.array([0.0, 0.5])}))
>>> decode(data).plans["[20]"].tolist()
[0.0, 0.5]
"""

from __future__ import annotations

import json
import math
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schema.errors import Corrupt

_MAGIC = b"AQNC"
_HEADER = struct.Struct("<III")
_START = len(_MAGIC) + 4
_DAMAGED = "scores of nonconformity are damaged"


@dataclass(frozen=True, eq=False)
class Nonconformity:
    """How badly the right class of each validation image conforms to its reads.

    Attributes:
        labels: (N,) integers below 2^15, the right classes.
        plans: (N,) float64 for each plan of reads by its name.
    """

    labels: NDArray[np.integer]
    plans: Mapping[str, NDArray[np.float64]]


def plan_name(parameters: Mapping[str, Any]) -> str:
    """Return the name of the plan of reads in ``parameters``, by name as a run's row stores them.

    The share of a round is not part of it: it only bounds what a round may cost.
    """
    rounds = [[int(reads), float(gap)] for reads, gap, *_ in parameters.get("rounds") or ()]
    return json.dumps([int(parameters["reads"]), *rounds])


def least_images(confidence: float) -> int:
    """Return how many labelled images, at least, a ``confidence`` needs: n with ceil((n + 1) c) <= n.

    >>> least_images(0.99)
    99
    """
    return math.ceil(confidence / (1.0 - confidence) - 1e-6)


def encode(scores: Nonconformity) -> bytes:
    """Encode ``scores``."""
    names = json.dumps(list(scores.plans)).encode()
    body = b"".join(
        (
            _HEADER.pack(len(scores.labels), len(scores.plans), len(names)),
            names,
            np.ascontiguousarray(scores.labels, dtype="<i2").tobytes(),
            *(np.ascontiguousarray(plan, dtype="<f8").tobytes() for plan in scores.plans.values()),
        )
    )
    return _MAGIC + zlib.crc32(body).to_bytes(4, "little") + body


def decode(data: bytes) -> Nonconformity:
    """Decode ``data``.

    Raises:
        Corrupt: length or checksum do not agree, or a value is out of range.
    """
    body = data[_START:]
    if data[:_START] != _MAGIC + zlib.crc32(body).to_bytes(4, "little") or len(body) < _HEADER.size:
        raise Corrupt(f"{_DAMAGED}: their checksum does not agree")
    images, plans, length = _HEADER.unpack_from(body)
    start = _HEADER.size + length
    if len(body) != start + images * (2 + 8 * plans):
        raise Corrupt(f"{_DAMAGED}: {len(body)} bytes are too few or too many")
    try:
        names = json.loads(body[_HEADER.size : start])
    except ValueError:
        names = None
    if not isinstance(names, list) or len({str(name) for name in names}) != plans:
        raise Corrupt(f"{_DAMAGED}: the names of their plans cannot be read")
    labels = np.frombuffer(body, "<i2", images, start)
    scores = np.frombuffer(body, "<f8", images * plans, start + 2 * images).reshape(plans, images)
    if labels.min(initial=0) < 0 or not (scores >= 0.0).all():
        raise Corrupt(f"{_DAMAGED}: a label or a score is below 0")
    return Nonconformity(labels, {str(name): row for name, row in zip(names, scores, strict=True)})
