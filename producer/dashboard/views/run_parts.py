"""The page of a run as parts: while the run is worked on, only those that changed are sent again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from producer.dashboard.charts import cells
from producer.dashboard.report import provenance, run_facts, run_values
from producer.dashboard.report.aggregates import AggregateCache
from producer.dashboard.report.pictures import PictureCache
from producer.dashboard.report.run_facts import RunResults
from producer.dashboard.views import run_history
from producer.dashboard.web.drawing import digest
from producer.dashboard.web.parts import LivePage, render_part
from producer.progress.stages import ImageProgress, progress_of
from producer.runs import queries, summary
from schema.parameters import Solver
from schema.quantities import count_text, duration_text
from schema.states import FINISHED_RUNS, RunState
from schema.tables import Batch

# In their order on the page; the last ones cost more, and come once a run is finished.
_CHANGING = ("head", "progress", "figures", "failures", "confusion", "images", "charts", "timeline")
_FINAL = ("certainty", "scores", "solver", "provenance")
_EVERY_S, _PAUSED_EVERY_S = 2, 10
_MAX_AVERAGED = 20_000  # images of a run whose page shows mean scores
_SHOWN_FAILURES, _SHOWN_EVENTS = 5, 8


@dataclass(frozen=True)
class RunCaches:
    """What a process stores between two requests for pages of runs."""

    aggregates: AggregateCache = field(default_factory=AggregateCache)
    pictures: PictureCache = field(default_factory=PictureCache)


@dataclass(frozen=True, eq=False)
class PageState:
    """What decides the page of a run, read from a few rows.

    Attributes:
        values: of templates.
        digest: of everything that decides the page, for this visitor.
    """

    run: queries.RunSummary
    values: Mapping[str, Any]
    digest: str


def read_state(session: Session, run: int, now: datetime, about: Mapping[str, Any]) -> PageState:
    """Return what decides the page of ``run`` in ``session`` as it is ``now``.

    Args:
        about: the template's values that belong to the visitor: root, here, may_act.

    Raises:
        NotFound: there is no such run.
    """
    summary_row = queries.run(session, run)
    finished = summary_row.state in FINISHED_RUNS
    values = {
        "progress": None if finished else _progress(progress_of(session, run, now), now),
        "costs": _costs(session, summary_row),
        "failures": run_history.failures(session, run, _SHOWN_FAILURES),
        "events": run_history.events(session, run, _SHOWN_EVENTS),
        "tags": queries.tags(session, [run]).get(run, []),
        **about,
    }
    # A batch that is sampled again after a repair, and answers, change results and charts.
    scored = session.execute(select(func.max(Batch.scored_at)).where(Batch.run_id == run)).scalar()
    decides = digest(asdict(summary_row), values, run_facts.content_of(session, run), scored)
    return PageState(summary_row, values, decides)


def live_page(session: Session, state: PageState, caches: RunCaches, *, whole: bool) -> LivePage:
    """Return the page of a run in ``session`` that is in ``state``.

    Args:
        whole: with all parts; otherwise without those that do not change before the run is finished.

    Raises:
        NotFound: there is no such run.
        Corrupt: stored data of the run are damaged.
    """
    results = run_facts.read_results(session, state.run, caches.aggregates)
    finished = state.run.state in FINISHED_RUNS
    values = {**state.values, **_results_values(session, results, caches)}
    names: tuple[str, ...] = _CHANGING
    if whole or finished:
        values |= _final_values(session, results, str(values["root"]))
        names += _FINAL
    parts = {name: render_part(f"run/{name}.html.j2", values) for name in names}
    every_s = None if finished else _PAUSED_EVERY_S if state.run.state is RunState.PAUSED else _EVERY_S
    title = _title(results, values["progress"])
    return LivePage(parts, title, state.run.state, every_s, state.digest)


def _title(results: RunResults, progress: dict[str, Any] | None) -> str:
    run = results.run
    share = "" if progress is None else f" {progress['scored_percent']:.0f} %"
    return f"{run.state}{share}: run {run.run_id}, {run.name}"


def _results_values(session: Session, results: RunResults, caches: RunCaches) -> dict[str, Any]:
    return {
        **run_values.results_values(results),
        "classes": len(results.classes),
        "wrong": results.counts.labelled - results.counts.correct,
        "images": _images(session, results, caches.pictures),
    }


def _images(session: Session, results: RunResults, pictures: PictureCache) -> list[dict[str, Any]]:
    run, ranked, names = results.run.run_id, results.ranked, results.classes
    drawn = pictures.read(session, run, [result.image for result in ranked])
    scores = run_facts.scores_of(run, ranked, len(names))
    return [
        run_values.image_values(result, row, drawn[result.image], names, run_values.BEST_CLASSES)
        for result, row in zip(ranked, scores, strict=True)
    ]


def _final_values(session: Session, results: RunResults, root: str) -> dict[str, Any]:
    run = results.run
    origin = run_facts.provenance(session, run)
    chip = None
    if origin.embeddings:
        newest = origin.embeddings[-1]
        text = f"embedding {newest.embedding_id}: {count_text(newest.tiles or 1, 'tile')}"
        chip = {"source": f"{root}/embeddings/{newest.embedding_id}.png", "text": text}
    means = None
    if results.confusion and run.state in FINISHED_RUNS and run.images <= _MAX_AVERAGED:
        means = summary.mean_scores(session, run.run_id, len(results.classes))
    return {
        "scores": cells.mean_scores(means, results.classes),
        "solver": run_values.solver_values(session, run, results.counts.accuracy),
        "chip": chip,
        "commands": provenance.commands(run, origin),
        "provenance": provenance.rows(run, origin),
        "notes": [],
    }


def _progress(progress: ImageProgress, now: datetime) -> dict[str, Any]:
    text = (
        f"{progress.scored:,} of {count_text(progress.expected, 'image')} are scored, "
        f"{progress.sampled:,} sampled"
    )
    if progress.failed:
        text += f", {progress.failed:,} failed"
    if progress.round > 1:
        again = count_text(progress.again, "image")
        text += f"; round {progress.round}: {progress.again_sampled:,} of {again} read again"
    if progress.intake is not None and progress.intake.text != progress.waits:
        text += f"; {progress.intake.text}"
    left_s = progress.left_s(now)
    if left_s is not None:
        text += f"; about {duration_text(left_s)} left"
    scored_percent = 100.0 * progress.scored / progress.expected
    sampled_percent = 100.0 * progress.sampled / progress.expected
    return {
        "images": progress.expected,
        "scored": progress.scored,
        "scored_percent": round(scored_percent, 1),
        "sampled_percent": round(max(sampled_percent - scored_percent, 0.0), 1),
        "text": text,
        "done_at": None if left_s is None or left_s < 60 else now + timedelta(seconds=left_s),
        "waits": progress.waits,
    }


def _costs(session: Session, run: queries.RunSummary) -> str | None:
    """Return what ``run`` was charged, and what is left of its budget; None without qubits."""
    if not Solver(run.solver).is_remote:
        return None
    spending = queries.spending_of_run(session, run.run_id)
    text = f"QPU time: {spending.charged_us / 1e6:,.3f} s charged"
    if spending.in_flight:
        problems = count_text(spending.in_flight, "problem")
        text += f", {spending.in_flight_us / 1e6:,.3f} s expected for {problems} in flight"
    if run.budget_us is None:
        return f"{text}; no budget"
    left_us = max(run.budget_us - spending.charged_us - spending.in_flight_us, 0.0)
    return f"{text}; {left_us / 1e6:,.3f} s left of the budget of {run.budget_us / 1e6:,.3f} s"
