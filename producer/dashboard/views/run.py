"""One run: its page, its report and its buttons."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from starlette.responses import Response

from producer.dashboard.report import content, run_report
from producer.dashboard.web.renderings import Drawing, digest
from producer.dashboard.web.visit import Visit
from producer.progress.stages import ImageProgress, progress_of
from producer.runs import queries
from schema.errors import NotFound
from schema.quantities import count_text, duration_text
from schema.states import LIVE_RUNS

_MAX_AVERAGED = 20_000  # images of a run whose page shows mean scores
_DONE = {"pause": "paused", "resume": "resumed", "cancel": "cancelled"}


def show(visit: Visit) -> Response:
    """Show the run of ``visit``, live until it is finished."""
    number = visit.number("run")
    with visit.database.reading() as session:
        run = queries.run(session, number)
        finished = run.state not in LIVE_RUNS
        values = run_report.live(session, number, scores=finished and run.images <= _MAX_AVERAGED)
        now = visit.database.now(session)
        progress = None if finished else _progress(progress_of(session, number, now), now)
    if (source := values.pop("embedding", None)) is not None:
        values["chip"] = {"source": f"{visit.root}/embeddings/{source[0]}.png", "text": source[1]}
    values |= {"here": f"{visit.root}/runs/{number}", "progress": progress, "live": not finished}
    return visit.render("run.html.j2", **values)


def report(visit: Visit) -> Drawing:
    """Send the report of the run of ``visit`` as one file."""
    number, database = visit.number("run"), visit.database

    def draw() -> bytes:
        with database.reading() as session:
            return run_report.html(session, number).encode()

    with database.reading() as session:
        decides = content.of_report(session, number)
    return Drawing(number, "report", digest(decides), "text/html", draw, {})


def act(visit: Visit) -> Response:
    """Pause, resume or cancel the run of ``visit`` if its visitor may, then show it."""
    number, action = visit.number("run"), visit.request.path_params["act"]
    if action not in _DONE:
        raise NotFound(f"there is no page /runs/{number}/{action}")
    visit.check_may_act()
    visit.visitor.change(number, action)
    return visit.go(f"/runs/{number}", f"run {number} is {_DONE[action]}")


def _progress(progress: ImageProgress, now: datetime) -> dict[str, Any]:
    text = (
        f"{progress.scored:,} of {count_text(progress.images, 'image')} are scored, "
        f"{progress.sampled:,} sampled"
    )
    if progress.failed:
        text += f", {progress.failed:,} failed"
    if progress.search:
        text += f"; searching an embedding: {progress.search['step']}, {progress.search['fraction']:.0%}"
    if (left_s := progress.left_s(now)) is not None:
        text += f"; about {duration_text(left_s)} left"
    scored_percent = 100.0 * progress.scored / progress.images
    sampled_percent = 100.0 * progress.sampled / progress.images
    return {
        "images": progress.images,
        "scored": progress.scored,
        "scored_percent": round(scored_percent, 1),
        "sampled_percent": round(max(sampled_percent - scored_percent, 0.0), 1),
        "text": text,
        "waits": progress.waits,
    }
