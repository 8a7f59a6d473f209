"""`annealq plan` as text and as JSON: the forecast, and past activity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, tzinfo
from typing import Any

from rich.console import Group, RenderableType

from producer.forecasts.workload import RunActivity
from producer.planning.forecast import Forecast, WindowPlan
from producer.reports.solver import comparison_table
from producer.reports.terminal import new_table
from schema.calendar.run_hours import format_time
from schema.parameters import Solver
from schema.quantities import count_text
from schema.tables.costs import round_charge

_MINUTE_US = 60_000_000


@dataclass(frozen=True)
class Price:
    """Price of a minute of QPU time, and the name of its currency in the output."""

    per_minute: float
    currency: str

    def of(self, qpu_us: float) -> float:
        return qpu_us / _MINUTE_US * self.per_minute


Compared = Mapping[int, Sequence[Mapping[str, Any]]]  # QPUs by run, see `workload.compared_qpus`


def plan_object(plan: WindowPlan, price: Price | None, compared: Compared) -> dict[str, Any]:
    """Return the forecast ``plan`` as plain JSON, with the QPUs ``compared``.

    Costs are None without a ``price``.
    """
    return {
        "now": plan.now.isoformat(),
        "until": plan.until.isoformat(),
        "qpu_us": plan.qpu_us,
        **_cost(plan.qpu_us, price),
        "runs": [
            {**_run_object(forecast, price), "qpus": compared.get(forecast.run.run_id, [])}
            for forecast in plan.runs
        ],
    }


def _run_object(forecast: Forecast, price: Price | None) -> dict[str, Any]:
    run = forecast.run
    return {
        "run_id": run.run_id,
        "name": run.name,
        "solver": run.solver,
        "priority": run.priority,
        "paused_by": run.paused_by,
        "window": None if run.hours.windows is None else str(run.hours.windows),
        "deadline_at": None if run.hours.deadline_at is None else run.hours.deadline_at.isoformat(),
        "begins_at": None if forecast.begins_at is None else forecast.begins_at.isoformat(),
        "images": forecast.images,
        "problems": forecast.problems,
        "qpu_us": forecast.qpu_us,
        "seconds": forecast.seconds,
        **_cost(forecast.qpu_us, price),
        "budget_left_us": run.budget_us,
        "left_images": forecast.left_images,
        "left_qpu_us": None if run.qpu_us is None else run.qpu_us - forecast.qpu_us,
        "left": forecast.left,
        "basis": run.basis,
    }


def plan_text(plan: WindowPlan, price: Price | None, zone: tzinfo, compared: Compared) -> RenderableType:
    """Return the forecast ``plan`` as text, with costs by ``price`` and times in ``zone``.

    The QPUs ``compared`` follow, one table for each run.
    """
    if not plan.runs:
        return "no pending runs; start one with `annealq classify DATA`"
    qubits = any(Solver(forecast.run.solver).is_remote for forecast in plan.runs)
    charged = ("problems", "QPU s", *_cost_column(price), "budget left") if qubits else ()
    numbers = ("images", "time", *charged)
    columns = ("run", "solver", "begins", *numbers, "remaining", "basis")
    title = f"from {format_time(plan.now, zone)} to {format_time(plan.until, zone)}"
    first_out = ("basis", "budget left", "problems", "solver", "begins", "remaining")
    left_out = [name for name in first_out if name in columns]
    table = new_table(*columns, right=numbers, title=title, first_out=left_out, wrapped=("basis",))
    for forecast in plan.runs:
        table.add_row(*_plan_row(forecast, price, zone, qubits=qubits))
    remaining = sum(forecast.left_images for forecast in plan.runs)
    total = f"{_total(plan.qpu_us, price)}; " if qubits else ""
    tables = [comparison_table(rows, f"QPUs of run {run}, what is left") for run, rows in compared.items()]
    return Group(table, f"{total}{count_text(remaining, 'image')} remain", *tables)


def _plan_row(forecast: Forecast, price: Price | None, zone: tzinfo, *, qubits: bool) -> list[str]:
    run = forecast.run
    charged = [
        f"{forecast.problems:,}",
        f"{forecast.qpu_us / 1e6:,.3f}",
        *_cost_cell(forecast.qpu_us, price),
        "" if run.budget_us is None else f"{run.budget_us / 1e6:,.3f} s",
    ]
    remaining = (
        "" if forecast.left is None else f"{count_text(forecast.left_images, 'image')}: {forecast.left}"
    )
    return [
        f"{run.run_id}: {run.name}",
        run.solver,
        "" if forecast.begins_at is None else format_time(forecast.begins_at, zone),
        f"{forecast.images:,} of {run.images:,}",
        "" if run.seconds is None else _duration(forecast.seconds),
        *(charged if qubits else []),
        remaining,
        run.basis,
    ]


def _duration(seconds: float) -> str:
    """Return ``seconds`` in the largest unit in which they are 1 or more: hours, minutes or seconds."""
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:,.1f} {unit}"
    return f"{seconds:,.1f} s"


def activity_object(since: datetime, ran: Sequence[RunActivity], price: Price | None) -> dict[str, Any]:
    """Return the activity ``ran`` of runs ``since`` then as plain JSON, with costs by ``price``."""
    runs = [{**asdict(run), **_cost(run.charged_us + run.wasted_us, price)} for run in ran]
    charged = round_charge(sum(run.charged_us for run in ran))
    wasted = round_charge(sum(run.wasted_us for run in ran))
    totals = {"charged_us": charged, "wasted_us": wasted, **_cost(charged + wasted, price)}
    return {"since": since.isoformat(), **totals, "runs": runs}


def activity_text(
    since: datetime, ran: Sequence[RunActivity], price: Price | None, zone: tzinfo
) -> RenderableType:
    """Return the activity ``ran`` of runs ``since`` then as text, with ``price`` and times in ``zone``."""
    if not ran:
        return f"nothing ran since {format_time(since, zone)}"
    numbers = ("images", "remaining", "problems", "charged s", "wasted s", *_cost_column(price))
    columns = ("run", "solver", "state", *numbers, "failed", "remarks")
    left_out = ("wasted s", "problems", "remarks", "failed", "solver", "charged s", "remaining")
    title = f"since {format_time(since, zone)}"
    table = new_table(*columns, right=numbers, title=title, first_out=left_out, wrapped=("remarks",))
    for run in ran:
        table.add_row(
            f"{run.run_id}: {run.name}",
            run.solver,
            run.state,
            f"{run.images:,}",
            f"{run.left_images:,}",
            f"{run.problems:,}",
            f"{run.charged_us / 1e6:,.3f}",
            f"{run.wasted_us / 1e6:,.3f}",
            *_cost_cell(run.charged_us + run.wasted_us, price),
            _failed(run),
            run.remark or "",
        )
    total = _total(sum(run.charged_us + run.wasted_us for run in ran), price)
    return Group(table, f"{count_text(sum(run.images for run in ran), 'image')} for {total}")


def _failed(run: RunActivity) -> str:
    parts = [(run.failed_problems, "problems"), (run.failed_batches, "batches")]
    return ", ".join(f"{count:,} {what}" for count, what in parts if count)


def _cost_column(price: Price | None) -> list[str]:
    return [] if price is None else [price.currency or "cost"]


def _cost_cell(qpu_us: float, price: Price | None) -> list[str]:
    return [] if price is None else [f"{price.of(qpu_us):,.2f}"]


def _total(qpu_us: float, price: Price | None) -> str:
    cost = "" if price is None else f", {price.of(qpu_us):,.2f} {price.currency}".rstrip()
    return f"{qpu_us / 1e6:,.3f} s of QPU time{cost}"


def _cost(qpu_us: float, price: Price | None) -> dict[str, Any]:
    if price is None:
        return {"cost": None, "currency": None}
    return {"cost": round(price.of(qpu_us), 6), "currency": price.currency}
