"""`annealq plan`: a forecast of the next windows, or a report on past activity."""

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
        float | None, typer.Option("--price-per-minute", help="Price of a minute of QPU time.")
    ] = None,
    currency: Annotated[
        str, typer.Option("--currency", help="Currency of that price, for example EUR.")
    ] = "",
    since: Annotated[
        str | None,
        typer.Option("--since", help="Report activity since 22:00 (the last one), or 2026-12-01T22:00."),
    ] = None,
    last: Annotated[
        bool, typer.Option("--last", help="Report activity since the latest window opened.")
    ] = False,
    zone: Annotated[str | None, typer.Option("--tz", help="Time zone of --since and of the output.")] = None,
    json: o.Json = False,
) -> None:
    """Forecast how much pending work fits into the next windows, its time and cost, and what remains.

    Estimates come from a run's own problems, from a similar run, or from `classify --dry-run`. Without any, a
    run on the local solver is assumed to be as fast as this project's figures for `mnist`. A solver is
    assumed to need a run's QPU time and no more: the forecast is an upper bound. The QPUs of a
    run with a dry run are compared, as there.

    Afterwards, `annealq plan --last` or `--since 22:00` reports what ran, was charged, was wasted and failed.

    Example: `annealq plan --since 22:00`.
    """
    from producer.context import database
    from producer.forecasts import workload
    from producer.planning.forecast import forecast
    from producer.reports import forecast as reports_forecast
    from producer.reports.terminal import page, print_json

    if since is not None and last:
        raise ParameterError("--since and --last exclude each other: give one of them")
    cost = _price(price, currency)
    where = find_zone(o.zone_name(zone))
    with database() as opened, opened.reading() as session:
        now = opened.now(session)
        if since is None and not last:
            waiting = workload.waiting_runs(session)
            planned, compared = forecast(waiting, now), workload.compared_qpus(session, waiting)
            result = (
                reports_forecast.plan_object(planned, cost, compared)
                if json
                else reports_forecast.plan_text(planned, cost, where, compared)
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
    """Return the time ``text`` in ``zone``: the last 22:00 before ``now``, or a date with a time."""
    if is_daily(text):
        hour, minute = map(int, text.split(":"))
        today = now.astimezone(zone).replace(hour=hour, minute=minute, second=0, microsecond=0, fold=0)
        days = ((today - timedelta(days=back)).astimezone(UTC) for back in range(3))
        return next(day for day in days if day <= now)
    try:
        time = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ParameterError(
            f"--since {text[:100]!r} is not a time; write 22:00, or 2026-12-01T22:00"
        ) from None
    return (time if time.tzinfo else time.replace(tzinfo=zone)).astimezone(UTC)


def _price(per_minute: float | None, currency: str) -> reports_forecast.Price | None:
    from producer.reports.forecast import Price

    if per_minute is None:
        if currency:
            raise ParameterError(f"--currency {currency} is only valid with --price-per-minute")
        return None
    if not (math.isfinite(per_minute) and per_minute >= 0):
        raise ParameterError(f"the price per minute is {per_minute}; it must be a finite number, at least 0")
    return Price(per_minute, currency)
