"""Schedules for people to read."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from producer.planning.schedules import FiringSummary, ScheduleSummary
from schema.calendar.run_hours import shown
from schema.calendar.windows import find_zone
from schema.states import FiringState


def schedules_table(schedules: Sequence[ScheduleSummary]) -> Table:
    """`schedules list`."""
    made = Table()
    for name in ("schedule", "due", "zone", "state", "next", "last", "came to"):
        made.add_column(name)
    for held in schedules:
        zone = find_zone(held.zone)
        made.add_row(
            held.name,
            held.cron,
            held.zone,
            held.state,
            "" if held.next_at is None else shown(held.next_at, zone),
            "" if held.last is None else shown(held.last.due_at, zone),
            "" if held.last is None else firing_result(held.last),
        )
    return made


def schedule_text(held: ScheduleSummary, firings: Sequence[FiringSummary]) -> RenderableType:
    """`schedules show`."""
    zone = find_zone(held.zone)
    about = Table.grid(padding=(0, 2))
    about.add_row("schedule", f"{held.name}, {held.state}")
    about.add_row("due", f"{held.cron} {held.zone}")
    if held.next_at is not None:
        about.add_row("next", shown(held.next_at, zone))
    for name, value in held.request.items():
        about.add_row(name, Text(value if isinstance(value, str) else _words(value)))
    made = Table(title="firings, newest first")
    for name in ("due", "came to", "remarks"):
        made.add_column(name)
    for firing in firings:
        made.add_row(shown(firing.due_at, zone), firing_result(firing), _remarks(firing))
    return Group(about, made) if firings else about


def firing_result(firing: FiringSummary) -> Text:
    """What became of a firing."""
    if firing.state is FiringState.FAILED:
        return Text(firing.error or "", style="red")
    return Text("waits for its run" if firing.state is FiringState.DUE else f"run {firing.run_id}")


def _remarks(firing: FiringSummary) -> str:
    remarks = []
    if firing.by_hand:
        remarks.append("by hand")
    if firing.missed:
        remarks.append(f"stands for {firing.missed:,} earlier ones that were missed")
    if firing.changed:
        remarks.append("other data than when it was added")
    return "; ".join(remarks)


def _words(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {one}" for name, one in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
