"""Schedules, and the plan of the coming windows."""

from __future__ import annotations

from starlette.responses import Response

from producer.dashboard.web.tables import Button, Cell, Link, Mark, PageTable
from producer.dashboard.web.visit import Visit
from producer.forecasts import workload
from producer.planning import schedules
from producer.planning.forecast import Forecast, forecast
from producer.planning.schedules import ScheduleSummary
from schema.errors import NotFound
from schema.quantities import duration_text, time_text
from schema.states import ScheduleState


def show(visit: Visit) -> Response:
    """Show all schedules, and how much of the waiting work fits into the next windows, for ``visit``."""
    visit.check_admin()
    with visit.database.reading() as session:
        found = schedules.list_all(session)
        plan = forecast(workload.waiting_runs(session), visit.database.now(session))
    listings = [
        PageTable(
            title="",
            caption="requests that become runs when they are due",
            columns=("schedule", "state", "due", "time zone", "next", "latest", "", ""),
            rows=[_schedule(each) for each in found],
            empty="No schedule yet: annealq schedules add NAME CRON DATA.",
        ),
        PageTable(
            title="The plan",
            caption=f"until {time_text(plan.until)}: {plan.qpu_us / 1e6:,.3f} s of QPU time expected",
            columns=(
                "run",
                "name",
                "solver",
                "begins",
                "images",
                "QPU seconds",
                "takes",
                "images left",
                "why",
            ),
            rows=[_planned(each) for each in plan.runs],
            empty="No work is waiting.",
        ),
    ]
    return visit.render_listings("Schedules", listings)


def act(visit: Visit) -> Response:
    """Pause, resume or fire the schedule of ``visit``."""
    visit.check_may_act(admin=True)
    name, action = visit.request.path_params["name"], visit.request.path_params["act"]
    if action == "pause":
        schedules.pause(visit.database, name)
        return visit.go("/schedules", f"schedule {name} is paused")
    if action == "resume":
        due = schedules.resume(visit.database, name)
        return visit.go("/schedules", f"schedule {name} is due at {time_text(due)}")
    if action == "run":
        schedules.fire_now(visit.database, name)
        return visit.go("/schedules", f"schedule {name} was fired; its run follows in seconds")
    raise NotFound(f"there is no page /schedules/{name}/{action}")


def _schedule(schedule: ScheduleSummary) -> list[Cell]:
    active, name = schedule.state is ScheduleState.ACTIVE, schedule.name
    word = "pause" if active else "resume"
    latest: Cell = None
    if (last := schedule.last) is not None:
        latest = Link(f"run {last.run_id}", f"/runs/{last.run_id}") if last.run_id else str(last.state)
        latest = Mark(last.error, "wrong") if last.error else latest
    return [
        name,
        Mark(schedule.state, "right" if active else "soft"),
        schedule.cron,
        schedule.zone,
        schedule.next_at,
        latest,
        Button(word.capitalize(), f"/schedules/{name}/{word}", f"{word} schedule {name}"),
        Button("Run now", f"/schedules/{name}/run", f"run schedule {name} now"),
    ]


def _planned(planned: Forecast) -> list[Cell]:
    run = planned.run
    return [
        Link(str(run.run_id), f"/runs/{run.run_id}"),
        run.name,
        run.solver,
        planned.begins_at,
        planned.images,
        round(planned.qpu_us / 1e6, 3),
        duration_text(planned.seconds),
        planned.left_images,
        planned.left,
    ]
