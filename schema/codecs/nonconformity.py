"""The format of the nonconformity of validation images: their labels, and what their first reads make.

For each of T numbers of reads there is a score and an energy gap of each image, so that any rounds of reads
can be followed through: `after_rounds`. All numbers are little-endian:

    offset  bytes  content
         0      4  the letters `AQN2`
         4      4  CRC-32 of all that follows
         8      4  images, N
        12      4  numbers of reads, T

Then follow the numbers of reads (T,) int32, labels (N,) int16, scores (T, N) float64, each 0 or more, inf
included, and energy gaps (T, N) float64: -inf without a class, inf where no other class has an energy.

Earlier versions wrote `AQNC`: a score for each plan of reads by its name, see `plan_name`, and no gaps. After
N and P come the bytes of the names of plans, L; then the names (L bytes of JSON, a list), labels (N,) int16,
and scores (P, N) float64.

>>> data = encode(Nonconformity(np.array([3, 1]), {20: ReadOutcome(np.array([0.0, 0.5]), np.ones(2))}))
>>> decode(data).scores(ReadsHad(20)).tolist()
[0.0, 0.5]
"""

from __future__ import annotations

import json
import math
import struct
import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schema.errors import Corrupt

FloatArray = NDArray[np.float64]

_MAGIC, _HEADER = b"AQN2", struct.Struct("<II")
_EARLIER_MAGIC, _EARLIER_HEADER = b"AQNC", struct.Struct("<III")
_START = len(_MAGIC) + 4
_DAMAGED = "scores of nonconformity are damaged"


@dataclass(frozen=True, eq=False)
class ReadOutcome:
    """What the first reads of N labelled images make of them.

    Attributes:
        scores: (N,) float64, nonconformity of the right classes.
        gaps: (N,) float64, energy gaps; -inf without a class, inf where no other class has an energy.
    """

    scores: FloatArray
    gaps: FloatArray


@dataclass(frozen=True)
class ReadsHad:
    """How often the images of a run were read.

    Attributes:
        first: reads of all images.
        later: reads of each later round, and the energy gap below which images had it.
    """

    first: int
    later: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, eq=False)
class Nonconformity:
    """How badly the right class of each of N validation images conforms to its reads.

    Attributes:
        labels: (N,) integers below 2^15, the right classes.
        outcomes: by the number of reads.
        plans: (N,) float64 for each plan of reads by its name, by an earlier version.
    """

    labels: NDArray[np.integer]
    outcomes: Mapping[int, ReadOutcome]
    plans: Mapping[str, FloatArray] = field(default_factory=dict)

    def has(self, parameters: Mapping[str, Any]) -> bool:
        """Return whether the reads and rounds in ``parameters``, as a run's row has them, are known."""
        if self.plans:
            return plan_name(parameters) in self.plans
        later = [int(reads) for reads, *_ in parameters.get("rounds") or ()]
        return totals(int(parameters["reads"]), later) <= self.outcomes.keys()

    @property
    def reads_text(self) -> str:
        """Return the reads that are known, for display."""
        if self.plans:
            return ", ".join(sorted(self.plans, key=len))
        return f"{', '.join(map(str, sorted(self.outcomes)))} reads of an image in all"

    def scores(self, had: ReadsHad) -> FloatArray | None:
        """Return the scores (N,) of images that ``had`` these reads; None: they are not known."""
        numbers = totals(had.first, [more for more, _ in had.later])
        return after_rounds(self.outcomes, had).scores if numbers <= self.outcomes.keys() else None


def totals(reads: int, later: Collection[int]) -> set[int]:
    """Return the numbers of reads that an image may have after a round of ``reads`` and some ``later`` ones.

    >>> sorted(totals(20, [50, 100]))
    [20, 70, 120, 170]
    """
    found = {reads}
    for more in later:
        found |= {total + more for total in found}
    return found


def after_rounds(outcomes: Mapping[int, ReadOutcome], had: ReadsHad) -> ReadOutcome:
    """Return what the reads that N images ``had`` make of them.

    In each later round the images whose gap is below its limit get its reads besides the earlier ones.
    ``outcomes`` are by the number of reads that an image has after some rounds.
    """
    known = sorted(outcomes)
    scores = np.stack([outcomes[total].scores for total in known])
    gaps = np.stack([outcomes[total].gaps for total in known])
    images = np.arange(scores.shape[1])
    reads = np.full(len(images), had.first)
    for more, limit in had.later:
        reads[gaps[np.searchsorted(known, reads), images] < limit] += more
    rows = np.searchsorted(known, reads)
    return ReadOutcome(np.asarray(scores[rows, images]), np.asarray(gaps[rows, images]))


def plan_name(parameters: Mapping[str, Any]) -> str:
    """Return the name of the plan of reads in ``parameters``, by name as a run's row stores them.

    It is `[20]`, or `[20, [50, 1.0]]` with a second round of 50 reads of images with a gap below 1.
    """
    rounds = [[int(reads), float(gap)] for reads, gap, *_ in parameters.get("rounds") or ()]
    return json.dumps([int(parameters["reads"]), *rounds])


def least_images(confidence: float) -> int:
    """Return how many labelled images, at least, a ``confidence`` needs: n with ceil((n + 1) c) <= n.

    >>> least_images(0.99)
    99
    """
    return math.ceil(confidence / (1.0 - confidence) - 1e-6)


def encode(known: Nonconformity) -> bytes:
    """Encode ``known``, which has outcomes."""
    numbers = sorted(known.outcomes)
    rows = [known.outcomes[number] for number in numbers]
    body = b"".join(
        (
            _HEADER.pack(len(known.labels), len(numbers)),
            np.array(numbers, "<i4").tobytes(),
            np.ascontiguousarray(known.labels, dtype="<i2").tobytes(),
            *(np.ascontiguousarray(row.scores, dtype="<f8").tobytes() for row in rows),
            *(np.ascontiguousarray(row.gaps, dtype="<f8").tobytes() for row in rows),
        )
    )
    return _MAGIC + zlib.crc32(body).to_bytes(4, "little") + body


def decode(data: bytes) -> Nonconformity:
    """Decode ``data``, also of an earlier version.

    Raises:
        Corrupt: length or checksum do not agree, or a value is out of range.
    """
    magic, body = data[: len(_MAGIC)], data[_START:]
    header = {_MAGIC: _HEADER, _EARLIER_MAGIC: _EARLIER_HEADER}.get(magic)
    checksum = zlib.crc32(body).to_bytes(4, "little")
    if header is None or data[len(_MAGIC) : _START] != checksum or len(body) < header.size:
        raise Corrupt(f"{_DAMAGED}: their checksum does not agree")
    known = _decode(body) if magic == _MAGIC else _decode_earlier(body)
    scores = [*known.plans.values(), *(each.scores for each in known.outcomes.values())]
    gaps = [each.gaps for each in known.outcomes.values()]
    if known.labels.min(initial=0) < 0 or not all((each >= 0.0).all() for each in scores):
        raise Corrupt(f"{_DAMAGED}: a label or a score is below 0")
    if any(np.isnan(each).any() for each in gaps):
        raise Corrupt(f"{_DAMAGED}: an energy gap is not a number")
    return known


def _decode(body: bytes) -> Nonconformity:
    images, numbers = _HEADER.unpack_from(body)
    _refuse_length(body, _HEADER.size + 4 * numbers + images * (2 + 16 * numbers))
    start = _HEADER.size
    reads = np.frombuffer(body, "<i4", numbers, start).tolist()
    if not reads or reads != sorted(set(reads)) or reads[0] < 1:
        raise Corrupt(f"{_DAMAGED}: the numbers of reads are out of order")
    start += 4 * numbers
    labels = np.frombuffer(body, "<i2", images, start)
    values = np.frombuffer(body, "<f8", 2 * images * numbers, start + 2 * images)
    scores, gaps = values.reshape(2, numbers, images)
    rows = zip(reads, scores, gaps, strict=True)
    return Nonconformity(labels, {number: ReadOutcome(own, gap) for number, own, gap in rows})


def _decode_earlier(body: bytes) -> Nonconformity:
    images, plans, length = _EARLIER_HEADER.unpack_from(body)
    start = _EARLIER_HEADER.size + length
    _refuse_length(body, start + images * (2 + 8 * plans))
    try:
        names = json.loads(body[_EARLIER_HEADER.size : start])
    except ValueError:
        names = None
    if not isinstance(names, list) or not names or len({str(name) for name in names}) != plans:
        raise Corrupt(f"{_DAMAGED}: the names of their plans cannot be read")
    labels = np.frombuffer(body, "<i2", images, start)
    scores = np.frombuffer(body, "<f8", images * plans, start + 2 * images).reshape(plans, images)
    return Nonconformity(labels, {}, {str(name): row for name, row in zip(names, scores, strict=True)})


def _refuse_length(body: bytes, length: int) -> None:
    if len(body) != length:
        raise Corrupt(f"{_DAMAGED}: {len(body)} bytes are too few or too many")
