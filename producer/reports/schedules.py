"""Schedules and their firings as text."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from producer.planning.schedules import FiringSummary, ScheduleSummary
from producer.reports.terminal import new_grid, new_table
from schema.calendar.run_hours import format_time
from schema.calendar.windows import find_zone
from schema.states import FiringState


def schedules_table(schedules: Sequence[ScheduleSummary]) -> Table:
    """Return the table of `schedules list`."""
    columns = ("schedule", "due", "zone", "state", "next", "last", "result")
    table = new_table(*columns, first_out=("zone", "last", "next", "result"), wrapped=("result",))
    for schedule in schedules:
        zone = find_zone(schedule.zone)
        table.add_row(
            schedule.name,
            schedule.cron,
            schedule.zone,
            schedule.state,
            "" if schedule.next_at is None else format_time(schedule.next_at, zone),
            "" if schedule.last is None else format_time(schedule.last.due_at, zone),
            "" if schedule.last is None else firing_result(schedule.last),
        )
    return table


def schedule_text(schedule: ScheduleSummary, firings: Sequence[FiringSummary]) -> RenderableType:
    """Return the text of `schedules show`: ``schedule``, its request and its ``firings``."""
    zone = find_zone(schedule.zone)
    about = new_grid()
    about.add_row("schedule", f"{schedule.name}, {schedule.state}")
    about.add_row("due", f"{schedule.cron} {schedule.zone}")
    if schedule.next_at is not None:
        about.add_row("next", format_time(schedule.next_at, zone))
    for name, value in schedule.request.items():
        about.add_row(name, Text(value if isinstance(value, str) else _in_words(value)))
    if not firings:
        return about
    table = new_table("due", "result", "remarks", title="firings, newest first")
    for firing in firings:
        table.add_row(format_time(firing.due_at, zone), firing_result(firing), _remarks(firing))
    return Group(about, table)


def firing_result(firing: FiringSummary) -> Text:
    """Return the run or the error of ``firing``."""
    if firing.state is FiringState.FAILED:
        return Text(firing.error or "", style="red")
    return Text("waiting for its run" if firing.state is FiringState.DUE else f"run {firing.run_id}")


def _remarks(firing: FiringSummary) -> str:
    remarks = []
    if firing.by_hand:
        remarks.append("fired manually")
    if firing.missed:
        remarks.append(f"replaces {firing.missed:,} missed firings")
    if firing.changed:
        remarks.append("the data have changed since it was added")
    return "; ".join(remarks)


def _in_words(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {item}" for name, item in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
