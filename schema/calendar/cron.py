"""Cron expressions: when a schedule is due, in its time zone.

Five fields as in crontab(5), read by cronsim, which does as Debian's cron does when clocks are changed: a
fixed time in the hour that is left out is due right after it, and one in the hour that comes twice is due the
first time only. What is due every hour or every few minutes keeps its pace.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Self
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from schema.calendar.windows import find_zone
from schema.errors import ParameterError

MAX_TEXT = 100
_FIELDS = 5
_MOST_MISSED = 1_000  # due times that are counted


@dataclass(frozen=True)
class Cron:
    """An expression and its zone. All times that go in or out are aware."""

    text: str
    zone_name: str
    zone: ZoneInfo = field(compare=False)

    @classmethod
    def parse(cls, text: str, zone: str) -> Self:
        """Raises ParameterError that names the expression, or the zone, that cannot be used."""
        found = find_zone(zone)
        written = " ".join(text.split())
        try:
            if len(text) > MAX_TEXT or len(written.split()) != _FIELDS:
                raise CronSimError("five fields are needed: minute, hour, day of month, month, day of week")
            next(CronSim(written, datetime.now(found)))
        except (CronSimError, StopIteration) as error:
            raise ParameterError(
                f"cron expression {text[:MAX_TEXT]!r}: {str(error) or 'it is never due'}; "
                "example: '0 22 * * mon-fri'"
            ) from None
        return cls(written, zone, found)

    def after(self, at: datetime) -> datetime:
        """The first due time after ``at``, as UTC."""
        return next(CronSim(self.text, at.astimezone(self.zone))).astimezone(UTC)

    def latest(self, at: datetime) -> datetime:
        """The last due time that is not after ``at``, as UTC."""
        local = (at + timedelta(seconds=1)).astimezone(self.zone).replace(microsecond=0)
        return next(CronSim(self.text, local, reverse=True)).astimezone(UTC)

    def count(self, first: datetime, last: datetime) -> int:
        """How many due times there are from ``first``, which is one, to ``last``; 1,000 at most."""
        number, at = 1, first
        while number < _MOST_MISSED and (at := self.after(at)) <= last:
            number += 1
        return number
