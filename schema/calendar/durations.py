"""Lengths of time as a user writes them: 30m, 24h, 90d."""

from __future__ import annotations

import re
from datetime import timedelta

from schema.errors import ParameterError

_UNITS = {"s": "seconds", "m": "minutes", "min": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,6})?) ?(s|m|min|h|d|w)")
_LONGEST = timedelta(days=36_525)


def parse_duration(text: str) -> timedelta:
    """Return the time that ``text`` names, as in 30m, 24h or 90d; raise ParameterError.

    >>> parse_duration("1.5h"), parse_duration("0s")
    (datetime.timedelta(seconds=5400), datetime.timedelta(0))
    """
    parts = _DURATION.fullmatch(text.strip())
    if parts is None:
        raise ParameterError(
            f"{text!r:.100} is not a length of time: give a number and s, m, h, d or w, as in 24h"
        )
    length = timedelta(**{_UNITS[parts[2]]: float(parts[1])})
    if length > _LONGEST:
        raise ParameterError(f"{text!r:.100} is longer than a century: give less")
    return length
