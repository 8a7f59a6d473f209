"""`annealq plan`: what the night will do, and in the morning what it did."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated
from zoneinfo import ZoneInfo

import typer

from producer.commands.shared import options as o
from schema.calendar.windows import find_zone, is_daily
from schema.errors import ParameterError

if TYPE_CHECKING:
    from producer.reports import forecast as reports_forecast


def plan(
    price: Annotated[
        float | None,
        typer.Option("--price-per-minute", help="What a minute of QPU time costs you."),
    ] = None,
    currency: Annotated[str, typer.Option("--currency", help="Of that price: EUR, say.")] = "",
    since: Annotated[
        str | None,
        typer.Option("--since", help="What ran since then: 22:00 (the last one), or 2026-12-01T22:00."),
    ] = None,
    last: Annotated[bool, typer.Option("--last", help="What ran since the latest window opened.")] = False,
    zone: Annotated[
        str | None, typer.Option("--tz", help="Time zone of --since and of what is printed.")
    ] = None,
    json: o.Json = False,
) -> None:
    """What of the waiting runs fits into the next windows, its QPU time and cost, and what is left over.

    Estimates are those of the runs' own problems, of a run that is alike, or of `classify --dry-run`. A
    solver is taken to need a run's QPU time and no more: what does not fit will not be done.

    In the morning, `annealq plan --last` or `--since 22:00`: what ran, was charged, was wasted, and failed.
    """
    from producer.context import database
    from producer.planning import workload
    from producer.planning.forecast import forecast
    from producer.reports import forecast as reports_forecast
    from producer.reports.terminal import page, print_json

    if since is not None and last:
        raise ParameterError("--since and --last: give one of them")
    cost = _price(price, currency)
    where = find_zone(o.zone_name(zone))
    with database() as opened, opened.reading() as session:
        now = opened.now(session)
        if since is None and not last:
            planned = forecast(workload.waiting_runs(session), now)
            result = (
                reports_forecast.plan_object(planned, cost)
                if json
                else reports_forecast.plan_text(planned, cost, where)
            )
        else:
            begin = workload.last_window_opened(session, now) if since is None else past(since, where, now)
            ran = workload.activity_since(session, begin)
            result = (
                reports_forecast.activity_object(begin, ran, cost)
                if json
                else reports_forecast.activity_text(begin, ran, cost, where)
            )
    if json:
        print_json(result)
    else:
        page().print(result)


def past(text: str, zone: ZoneInfo, now: datetime) -> datetime:
    """`22:00`, the last one before ``now`` in ``zone``, or a date with a time; raises ParameterError."""
    if is_daily(text):
        hour, minute = map(int, text.split(":"))
        today = now.astimezone(zone).replace(hour=hour, minute=minute, second=0, microsecond=0, fold=0)
        days = ((today - timedelta(days=back)).astimezone(UTC) for back in range(3))
        return next(day for day in days if day <= now)
    try:
        given = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ParameterError(
            f"--since {text[:100]!r} is not understood; write 22:00, or 2026-12-01T22:00"
        ) from None
    return (given if given.tzinfo else given.replace(tzinfo=zone)).astimezone(UTC)


def _price(per_minute: float | None, currency: str) -> reports_forecast.Price | None:
    from producer.reports.forecast import Price

    if per_minute is None:
        if currency:
            raise ParameterError(f"--currency {currency} is of --price-per-minute, which is not given")
        return None
    if not (math.isfinite(per_minute) and per_minute >= 0):
        raise ParameterError(f"a price of {per_minute} for a minute: a number, 0 or more, is needed")
    return Price(per_minute, currency)
