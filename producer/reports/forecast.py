"""`annealq plan` for people and for JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table

from producer.planning.forecast import Forecast, WindowPlan
from producer.planning.workload import Ran
from schema.calendar.run_hours import shown

_MINUTE_US = 60_000_000


@dataclass(frozen=True)
class Price:
    """What a minute of QPU time costs; currency: as it is to be printed."""

    per_minute: float
    currency: str

    def of(self, qpu_us: int) -> float:
        return qpu_us / _MINUTE_US * self.per_minute


def plan_object(plan: WindowPlan, price: Price | None) -> dict[str, Any]:
    """The forecast as plain JSON. Costs are None without a price."""
    return {
        "now": plan.now.isoformat(),
        "until": plan.until.isoformat(),
        "qpu_us": plan.qpu_us,
        **_cost(plan.qpu_us, price),
        "runs": [_run_object(one, price) for one in plan.runs],
    }


def _run_object(one: Forecast, price: Price | None) -> dict[str, Any]:
    run = one.run
    return {
        "run_id": run.run_id,
        "name": run.name,
        "solver": run.solver,
        "priority": run.priority,
        "paused_by": run.paused_by,
        "window": None if run.hours.windows is None else str(run.hours.windows),
        "deadline_at": None if run.hours.deadline_at is None else run.hours.deadline_at.isoformat(),
        "begins_at": None if one.begins_at is None else one.begins_at.isoformat(),
        "images": one.images,
        "problems": one.problems,
        "qpu_us": one.qpu_us,
        **_cost(one.qpu_us, price),
        "budget_left_us": run.budget_us,
        "left_images": one.left_images,
        "left_qpu_us": None if run.qpu_us is None else run.qpu_us - one.qpu_us,
        "left": one.left,
        "basis": run.basis,
    }


def plan_text(plan: WindowPlan, price: Price | None, zone: tzinfo) -> RenderableType:
    """The forecast for people."""
    if not plan.runs:
        return "nothing waits: `annealq classify DATA`"
    table = Table(title=f"from {shown(plan.now, zone)} to {shown(plan.until, zone)}")
    for name in ("run", "solver", "begins", "images", "problems", "QPU s"):
        table.add_column(name, justify="left" if name in ("run", "solver", "begins") else "right")
    if price is not None:
        table.add_column(price.currency or "cost", justify="right")
    for name in ("budget left", "left over", "known from"):
        table.add_column(name)
    for one in plan.runs:
        table.add_row(*_plan_row(one, price, zone))
    cost = "" if price is None else f", {price.of(plan.qpu_us):,.2f} {price.currency}".rstrip()
    left = sum(one.left_images for one in plan.runs)
    return Group(table, f"{plan.qpu_us / 1e6:,.3f} s of QPU time{cost}; {left:,} images are left over")


def _plan_row(one: Forecast, price: Price | None, zone: tzinfo) -> list[str]:
    run = one.run
    cost = [] if price is None else [f"{price.of(one.qpu_us):,.2f}"]
    left = "" if one.left is None else f"{one.left_images:,} images: {one.left}"
    return [
        f"{run.run_id}: {run.name}",
        run.solver,
        "" if one.begins_at is None else shown(one.begins_at, zone),
        f"{one.images:,} of {run.images:,}",
        f"{one.problems:,}",
        f"{one.qpu_us / 1e6:,.3f}",
        *cost,
        "" if run.budget_us is None else f"{run.budget_us / 1e6:,.3f} s",
        left,
        run.basis,
    ]


def activity_object(since: datetime, ran: Sequence[Ran], price: Price | None) -> dict[str, Any]:
    """What ran since, as plain JSON."""
    runs = []
    for one in ran:
        values = {name: getattr(one, name) for name in Ran.__dataclass_fields__}
        runs.append({**values, **_cost(one.charged_us + one.wasted_us, price)})
    charged, wasted = (sum(getattr(one, name) for one in ran) for name in ("charged_us", "wasted_us"))
    totals = {"charged_us": charged, "wasted_us": wasted, **_cost(charged + wasted, price)}
    return {"since": since.isoformat(), **totals, "runs": runs}


def activity_text(since: datetime, ran: Sequence[Ran], price: Price | None, zone: tzinfo) -> RenderableType:
    """What ran since, for people."""
    if not ran:
        return f"nothing ran since {shown(since, zone)}"
    table = Table(title=f"since {shown(since, zone)}")
    for name in ("run", "solver", "state", "images", "left", "problems", "charged s", "wasted s"):
        table.add_column(name, justify="left" if name in ("run", "solver", "state") else "right")
    if price is not None:
        table.add_column(price.currency or "cost", justify="right")
    for name in ("failed", "remarks"):
        table.add_column(name)
    for one in ran:
        cost = [] if price is None else [f"{price.of(one.charged_us + one.wasted_us):,.2f}"]
        table.add_row(
            f"{one.run_id}: {one.name}",
            one.solver,
            one.state,
            f"{one.images:,}",
            f"{one.left_images:,}",
            f"{one.problems:,}",
            f"{one.charged_us / 1e6:,.3f}",
            f"{one.wasted_us / 1e6:,.3f}",
            *cost,
            _failed(one),
            one.remark or "",
        )
    total_us = sum(one.charged_us + one.wasted_us for one in ran)
    cost_text = "" if price is None else f", {price.of(total_us):,.2f} {price.currency}".rstrip()
    images = sum(one.images for one in ran)
    return Group(table, f"{images:,} images for {total_us / 1e6:,.3f} s of QPU time{cost_text}")


def _failed(one: Ran) -> str:
    parts = [(one.failed_problems, "problems"), (one.failed_batches, "batches")]
    return ", ".join(f"{count:,} {what}" for count, what in parts if count)


def _cost(qpu_us: int, price: Price | None) -> dict[str, Any]:
    if price is None:
        return {"cost": None, "currency": None}
    return {"cost": round(price.of(qpu_us), 6), "currency": price.currency}
