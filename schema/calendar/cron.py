"""Cron expressions: when a schedule is due, in its time zone.

Five fields as in crontab(5), read by cronsim, which follows Debian's cron when clocks change: a fixed time in
the skipped hour is due right after it, and one in the repeated hour is due the first time only. Expressions
that are due every hour or every few minutes are not shifted.
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
_MOST_MISSED = 1_000  # due times to count


@dataclass(frozen=True)
class Cron:
    """An expression and its zone. All times are aware."""

    text: str
    zone_name: str
    zone: ZoneInfo = field(compare=False)

    @classmethod
    def parse(cls, text: str, zone: str) -> Self:
        """Parse ``text`` in time ``zone``; raise ParameterError that names the one that cannot be used."""
        clock = find_zone(zone)
        written = " ".join(text.split())
        try:
            if len(text) > MAX_TEXT or len(written.split()) != _FIELDS:
                raise CronSimError("five fields are needed: minute, hour, day of month, month, day of week")
            next(CronSim(written, datetime.now(clock)))
        except (CronSimError, StopIteration) as error:
            raise ParameterError(
                f"cron expression {text[:MAX_TEXT]!r}: {str(error) or 'it is never due'}; "
                "example: '0 22 * * mon-fri'"
            ) from None
        return cls(written, zone, clock)

    def after(self, when: datetime) -> datetime:
        """Return the first due time after ``when``, as UTC."""
        return next(CronSim(self.text, when.astimezone(self.zone))).astimezone(UTC)

    def latest(self, when: datetime) -> datetime:
        """Return the last due time that is not after ``when``, as UTC."""
        local = (when + timedelta(seconds=1)).astimezone(self.zone).replace(microsecond=0)
        return next(CronSim(self.text, local, reverse=True)).astimezone(UTC)

    def count(self, first: datetime, last: datetime) -> int:
        """Return the number of due times from ``first``, which is one, to ``last``; 1,000 at most."""
        number, due = 1, first
        while number < _MOST_MISSED and (due := self.after(due)) <= last:
            number += 1
        return number
