"""Numbers with their units, for display: no "1 images", no "1.11e+03"."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime


def count_text(count: int, noun: str) -> str:
    """Return ``count`` and ``noun``, a singular such as "image" or "batch", which becomes plural if need be.

    >>> count_text(1, "batch"), count_text(2, "batch"), count_text(1797, "image")
    ('1 batch', '2 batches', '1,797 images')
    """
    if count == 1:
        return f"1 {noun}"
    return f"{count:,} {noun}{'es' if noun.endswith(('ch', 'sh', 's', 'x')) else 's'}"


def number_text(value: float, digits: int = 3) -> str:
    """Return ``value`` with at least ``digits`` significant digits, without an exponent or zeros at the end.

    >>> number_text(1113.4), number_text(0.0123456), number_text(2.0), number_text(0.0)
    ('1,113', '0.0123', '2', '0')
    """
    if value == 0.0 or not math.isfinite(value):
        return f"{value:g}"
    places = max(digits - 1 - math.floor(math.log10(abs(value))), 0)
    text = f"{value:,.{places}f}"
    return text.rstrip("0").rstrip(".") if places else text


def duration_text(seconds: float) -> str:
    """Return ``seconds`` for display, in seconds, minutes or hours.

    >>> duration_text(-1.0), duration_text(119.6), duration_text(360.0), duration_text(9000.0)
    ('0 s', '120 s', '6 min', '2.5 h')
    """
    seconds = max(seconds, 0.0)
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:,.0f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"


def time_text(when: datetime) -> str:
    """Return ``when`` in UTC, to the second."""
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def percent(share: float, *, down: bool = False) -> str:
    """Return ``share`` as a percentage with at most two digits behind the point; ``down``: rounded down."""
    hundredths = share * 10_000 // 1 / 100 if down else round(share * 100, 2)
    return f"{hundredths:.2f}".rstrip("0").rstrip(".") + "%"


def ranges_text(images: Sequence[int]) -> str:
    """Return ascending ``images``, indices, as text: 3-5, 9."""
    ranges: list[list[int]] = []
    for image in images:
        if ranges and ranges[-1][1] == image - 1:
            ranges[-1][1] = image
        else:
            ranges.append([image, image])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)
