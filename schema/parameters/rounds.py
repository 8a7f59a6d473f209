"""Further rounds of reads: which images of a run are read again, and how often."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from schema.errors import ParameterError

MAX_READS = 10_000  # the most that D-Wave's solvers take in one problem
MAX_ROUNDS = 4  # after the first
_FORM = "a list of rounds [reads, gap, share], such as [[50, 1, 0.05]]"


class Round(NamedTuple):
    """A round after the first: images that are uncertain by the reads of the earlier ones are read again.

    They are those without a class or with an energy gap below ``gap``, the most uncertain first.

    Attributes:
        reads: of each of them, besides the earlier ones.
        gap: in the units of the energies.
        share: of the run's images, the most that are read again.
    """

    reads: int
    gap: float
    share: float


def read_rounds(value: Any) -> tuple[Round, ...] | None:
    """Return the rounds of ``value``, lists of three numbers; None, and no rounds, are None.

    Raises:
        ParameterError: it names the round, the limit and what was given.
    """
    if value is None:
        return None
    if not isinstance(value, list | tuple):
        raise ParameterError(f"rounds must be {_FORM}, not {value!r:.80}")
    if len(value) > MAX_ROUNDS:
        raise ParameterError(f"{len(value)} further rounds are too many: choose at most {MAX_ROUNDS}")
    return tuple(_round(number, each) for number, each in enumerate(value, start=2)) or None


def first_reads(
    reads: int, rounds: Sequence[Round] | None, number: int
) -> tuple[int, tuple[Round, ...] | None]:
    """Return the reads of all images and the further rounds that have the first ``number`` reads of an image.

    Args:
        reads: of all images, in the first round.
        rounds: the further ones.
        number: at least 1. It may be more than all rounds have.

    >>> first_reads(20, (Round(50, 1.0, 0.05), Round(100, 1.0, 0.02)), 40)
    (20, (Round(reads=20, gap=1.0, share=0.05),))
    >>> first_reads(20, (Round(50, 1.0, 0.05),), 10)
    (10, None)
    """
    left = number - reads
    kept = []
    for each in rounds or ():
        if left > 0:
            kept.append(each._replace(reads=min(each.reads, left)))
        left -= each.reads
    return min(reads, number), tuple(kept) or None


def _round(number: int, value: Any) -> Round:
    """Return round ``number``, the first is 1, of ``value``."""
    if isinstance(value, Mapping):
        value = [value.get(name) for name in Round._fields]
    if not isinstance(value, list | tuple) or len(value) != len(Round._fields):
        raise ParameterError(f"round {number} is {_text(value)}; rounds must be {_FORM}")
    reads, gap, share = value
    if type(reads) is not int or not 1 <= reads <= MAX_READS:
        raise ParameterError(
            f"round {number} has {_text(reads)} reads; they must be a whole number from 1 to {MAX_READS:,}"
        )
    if not _is_number(gap) or gap < 0:
        raise ParameterError(
            f"round {number} has the gap {_text(gap)}; it must be a finite number at least 0"
        )
    if not _is_number(share) or not 0 < share <= 1:
        raise ParameterError(f"round {number} has the share {_text(share)}; it must be above 0 and at most 1")
    return Round(reads, float(gap), float(share))


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _text(value: Any) -> str:
    """Return ``value`` as its user wrote it, cut."""
    try:
        return json.dumps(value)[:80]
    except (TypeError, ValueError):
        return repr(value)[:80]
