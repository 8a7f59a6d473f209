"""The texts of a form: as the visitor saw them, and as they were sent."""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import timedelta

from producer.dashboard.web.visit import Visit
from schema.calendar.durations import parse_duration
from schema.errors import ParameterError


def seen_texts(visit: Visit, names: Collection[str]) -> dict[str, str] | None:
    """Return the texts of the fields ``names`` that the form of ``visit`` began with; None if it has none.

    What somebody else has changed since then was not edited by the visitor.
    """
    try:
        seen = json.loads(str(visit.form["seen"]))
        return {name: str(seen[name]) for name in names}
    except (ValueError, LookupError, TypeError, RecursionError):
        return None


def sent_texts(visit: Visit, names: Collection[str]) -> dict[str, str]:
    """Return the texts of the fields ``names`` in the form of ``visit``; chosen boxes with spaces between."""
    return {name: " ".join(map(str, visit.form.getlist(name))).strip() for name in names}


def duration(visit: Visit, name: str) -> timedelta | None:
    """Return the length of time in the field ``name`` of ``visit``, None if it is empty.

    Raises:
        ParameterError: it is not a length of time.
    """
    text = str(visit.form.get(name, "")).strip()
    try:
        return parse_duration(text) if text else None
    except ParameterError as error:
        raise ParameterError(str(error), name) from None
