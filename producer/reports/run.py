"""Runs as text: figures, the confusion table, mean scores, and the list of runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from sqlalchemy.orm import Session

from producer.embeddings import queries as embeddings_queries
from producer.progress import history
from producer.progress.intake import IntakeProgress, intake_of
from producer.progress.reasons import Outage
from producer.progress.rounds import RoundUse, changes_text, read_again, rounds_of, saved_text
from producer.progress.stages import waits_of
from producer.reports import solver
from producer.reports.certainty import Certainty, guarantee_rows
from producer.reports.certainty import read as read_certainty
from producer.reports.parameters import (
    consensus_text,
    controls_text,
    outcome_text,
    parameters_text,
    promise_text,
    without_text,
)
from producer.reports.terminal import FirstThatFits, new_grid, new_table
from producer.runs import qpus, queries
from producer.runs.summary import (
    ConfusionTable,
    accuracy_note,
    confusion_table,
    mean_scores,
    promise_values,
    scored_classes,
)
from schema.calendar.run_hours import RunHours, format_time
from schema.parameters import Solver
from schema.quantities import count_text, number_text, time_text
from schema.states import FINISHED_RUNS, RunState

_FIRST = 10  # images that are listed when no labels are known
_CHANCE_RANGE = 1.5  # times the accuracy of guessing, below which something else is likely to be wrong
_LEAST_LABELLED = 30


def run_text(
    session: Session, run_id: int, *, scores: bool = False, now: datetime | None = None
) -> RenderableType:
    """Return the text of `runs show` for ``run_id`` in ``session``: figures, and the confusion table.

    ``scores`` adds the mean scores. The window is shown open or closed as of ``now``, by default the present.
    """
    run = queries.run(session, run_id)
    counts = queries.counts(session, run_id)
    names = queries.classes(session, run_id)
    certainty = read_certainty(session, run_id, run.statistics)
    now = now or datetime.now(UTC)
    waits = waits_of(session, run_id, now)
    figures = _figures(run, counts, certainty, now, waits)
    _add_intake(figures, intake_of(session, run_id, now), waits)
    _add_promise(figures, promise_values(session, run, counts))
    if tags := queries.tags(session, [run_id]).get(run_id):
        figures.add_row("tags", ", ".join(tags))
    parts: list[RenderableType] = [figures]
    if Solver(run.solver).is_remote:
        uses, units = (
            qpus.uses(session, run_id, counts.accuracy),
            embeddings_queries.layers_of_run(session, run_id),
        )
        parts.append(solver.solver_figures(uses, run.statistics, units))
    parts += _rounds(session, run)
    if counts.decided + counts.undecided:
        confusion = queries.confusion(session, run_id)
        if (table := confusion_table(confusion, names)) is not None:
            parts.append(_confusion(table))
        elif not confusion:
            parts.append(_predicted(queries.predictions(session, run_id), names))
            parts.append(_first(session, run_id, names))
            parts.append(Text(f"all of them: `annealq runs export {run_id} -o images.csv`"))
        if scores and confusion:
            parts.append(_scores(mean_scores(session, run_id, len(names)), names))
    if _is_near_chance(counts, len(names)):
        parts.append(Text(_CHANCE.format(classes=len(names))))
    if run.error:
        parts.append(Text(run.error, style="red"))
    done = history.actions(session, run_id)
    if any(action.why or action.state != RunState.QUEUED for action in done):  # more than the enqueuing
        parts.append(_actions(done))
    return Group(*parts)


def _add_promise(table: Table, promise: dict[str, Any] | None) -> None:
    if promise is not None:
        table.add_row("promise", promise_text(promise))
        table.add_row("outcome", outcome_text(promise["outcome"]))


def _add_intake(table: Table, intake: IntakeProgress | None, waits: str | None) -> None:
    if intake is not None and intake.text != waits:
        table.add_row("source", intake.text)


def _rounds(session: Session, run: queries.RunSummary) -> list[Table]:
    """Return the rounds of reads of ``run``, read by ``session``; nothing for a run without further ones."""
    used = rounds_of(session, run.run_id)
    again = read_again(session, run.run_id, used)
    if again is None:
        return []
    table = new_grid()
    for each in used:
        table.add_row(f"round {each.round}", _round_text(each))
    if again.images:
        table.add_row("read again", changes_text(again, labelled=run.labelled))
    if again.saved_us is not None:
        table.add_row("saved", saved_text(again, sum(each.reads for each in used)))
    if again.notes and " is left out: " in again.notes[-1]:
        table.add_row("", again.notes[-1])
    if run.is_provisional:
        table.add_row("results", "provisional: a later round of reads may change them")
    return [table]


def _round_text(each: RoundUse) -> str:
    text = f"{count_text(each.images, 'image')}, {count_text(each.reads, 'read')} of each"
    if each.problems:
        used_ms = number_text(each.qpu_time_us / 1e3)
        text += f", {count_text(each.problems, 'problem')}, {used_ms} ms of QPU time"
    if each.finished < each.images:
        text += f"; {each.finished:,} are read"
    return text


def _actions(done: Sequence[history.UserAction]) -> Table:
    """Return what users did: time, actor, and what it was."""
    table = new_grid()
    for action in done:
        what = action.why or ("enqueued" if action.state == RunState.QUEUED else action.state)
        table.add_row(time_text(action.at), f"{what}, by {action.actor}")
    return table


_CHANCE = (
    "The accuracy is near that of guessing among {classes} classes. Are the labels those of these images, "
    "and numbered as the network's classes? Are dark and bright as in the training images (--invert)?"
)


def _is_near_chance(counts: queries.Counts, classes: int) -> bool:
    measured = counts.accuracy is not None and counts.labelled >= _LEAST_LABELLED
    return measured and classes > 0 and (counts.accuracy or 0.0) < _CHANCE_RANGE / classes


def _add_hours(table: Table, run: queries.RunSummary, now: datetime) -> None:
    hours = RunHours.of(run.window, run.opened_until, run.deadline_at)
    zone = UTC if hours.windows is None else hours.windows.zone
    if hours.windows is not None:
        opens, closes = hours.next_open(now), hours.closes(now)
        if run.state in FINISHED_RUNS:
            when = ""
        elif not hours.is_open(now):
            when = "; never opens" if opens is None else f"; opens {format_time(opens, zone)}"
        else:
            when = "; open" if closes is None else f"; open until {format_time(closes, zone)}"
        table.add_row("window", f"{hours.windows}{when}")
    if run.deadline_at is not None:
        table.add_row("deadline", format_time(run.deadline_at, zone))


def _figures(
    run: queries.RunSummary,
    counts: queries.Counts,
    certainty: Certainty,
    now: datetime,
    waits: str | None,
) -> Table:
    table = new_grid()
    table.add_row("run", f"{run.run_id}: {run.name}, {run.state}")
    visible = f", visible units {run.parameters['visible']}" if Solver(run.solver).is_remote else ""
    reads = f"{count_text(run.parameters['reads'], 'read')} an image"
    why = "" if run.network_reason is None else f" ({run.network_reason})"
    without = without_text(run.parameters)
    table.add_row("network", f"{run.network}{why}{without}, solver {run.solver}, {reads}{visible}")
    if run.reads_reason is not None:
        table.add_row("reads", run.reads_reason)
    table.add_row("consensus", consensus_text(run.parameters))
    if run.state is RunState.PAUSED and run.pause_reason is not None:
        table.add_row("paused", run.pause_reason)
    if waits is not None:
        table.add_row("waits", waits)
    _add_hours(table, run, now)
    if run.rescored_from is not None:
        table.add_row("samples", f"those of run {run.rescored_from}; nothing was sampled again")
    if run.calibrated_by is not None:
        table.add_row("parameters", f"by calibration {run.calibrated_by}: {parameters_text(run.parameters)}")
    if run.calibrates is not None:
        table.add_row("purpose", f"calibration {run.calibrates}: {parameters_text(run.parameters)}")
    _add_images(table, run, counts)
    if controls := controls_text((run.statistics or {}).get("controls")):
        table.add_row("controls", controls)
    _add_certainty(table, certainty, run.statistics)
    if run.statistics:
        _add_throughput(table, run.statistics)
    return table


def _add_images(table: Table, run: queries.RunSummary, counts: queries.Counts) -> None:
    text = f"{run.images_text}, {counts.decided:,} decided, {counts.undecided:,} undecided{_tied(counts)}"
    table.add_row("images", text)
    if run.notes:
        table.add_row("notes", "; ".join(run.notes))
    if counts.accuracy is not None:
        table.add_row("accuracy", f"{counts.accuracy:.2%} ({accuracy_note(run, counts)})")


def _add_certainty(table: Table, certainty: Certainty, statistics: dict[str, Any] | None) -> None:
    if not certainty.images:
        return
    if certainty.balance is not None:
        table.add_row("unbalanced", certainty.balance)
    if certainty.calibration is not None:
        table.add_row("ECE", certainty.calibration)
    if certainty.losses is not None:
        table.add_row("losses", certainty.losses)
    table.add_row("certainty", f"by {certainty.ranking}")
    for row in guarantee_rows(statistics):
        table.add_row(*row)


def _tied(counts: queries.Counts) -> str:
    return f", {counts.tied:,} tied" if counts.tied else ""


def _add_throughput(table: Table, figures: dict[str, Any]) -> None:
    table.add_row(
        "throughput", f"{figures['images_per_second']:,.1f} images/s over {figures['elapsed_seconds']:,.1f} s"
    )
    if (vectors := figures.get("features")) is not None:
        table.add_row("features", _features(vectors))
    table.add_row(
        "sampling", f"{figures['sampling_seconds']:,.1f} s inside the annealer, all workers together"
    )
    for name, key in (("queue wait", "queue_wait_ms"), ("latency", "latency_ms")):
        percentiles = [(p, ms) for p, ms in figures[key].items() if ms is not None]
        table.add_row(name, ", ".join(f"{p} {ms / 1000:,.2f} s" for p, ms in percentiles))


def _features(vectors: dict[str, Any]) -> str:
    """Return what feature vectors took; runs of an earlier version do not have the number of backbones."""
    text, each, computed = count_text(vectors["images"], "image"), "image", f"{vectors['computed']:,}"
    if vectors.get("backbones", 1) > 1:
        each = "vector"
        text += f" by {vectors['backbones']} backbones"
        computed = count_text(vectors["computed"], each)
    text += f", {computed} computed"
    if vectors["computed"] and vectors["seconds"]:
        rate = count_text(round(vectors["computed"] / vectors["seconds"]), each)
        text += f" at {rate} a CPU second"
    return text


def _confusion(confusion: ConfusionTable) -> FirstThatFits:
    table = Table(title="images by true class (rows) and predicted class (columns)")
    table.add_column("true", style="bold")
    for name in (*confusion.columns, "correct"):
        table.add_column(name, justify="right")
    for row in confusion.rows:
        cells = [_cell(images, k == row.label) for k, images in enumerate(row.counts)]
        table.add_row(row.name, *cells, f"{row.share:.1%}")
    return FirstThatFits(table, _confused(confusion))


def _confused(confusion: ConfusionTable) -> Table:
    """Return the table of ``confusion`` for narrow screens: the most frequent wrong class of each."""
    table = Table(title="images by true class")
    for name in ("true", "images", "correct"):
        table.add_column(name, justify="left" if name == "true" else "right")
    table.add_column("most often instead", overflow="fold")
    for row in confusion.rows:
        wrong = {k: count for k, count in enumerate(row.counts) if count and k != row.label}
        worst = max(wrong, key=wrong.__getitem__, default=None)
        instead = "" if worst is None else f"{confusion.columns[worst]} ({wrong[worst]:,})"
        table.add_row(row.name, f"{sum(row.counts):,}", f"{row.share:.1%}", instead)
    return table


def _cell(images: int, right: bool) -> Text:
    if not images:
        return Text("·", style="dim")
    return Text(f"{images:,}", style="green" if right else "red")


def _predicted(predictions: list[tuple[int | None, int]], names: tuple[str, ...]) -> Table:
    table = Table(title="images by predicted class")
    table.add_column("class", style="bold")
    table.add_column("images", justify="right")
    for predicted, images in predictions:
        table.add_row("undecided" if predicted is None else names[predicted], f"{images:,}")
    return table


def _first(session: Session, run_id: int, names: tuple[str, ...]) -> Table:
    table = new_table("image", "class", "margin", right=("margin",), title="the first images")
    files = queries.sources(session, run_id, _FIRST)
    for image in queries.classified(session, run_id, 0, _FIRST):
        name = "undecided" if image.predicted is None else names[image.predicted]
        table.add_row(files.get(image.image, str(image.image)), name, f"{image.margin:.2f}")
    return table


def _scores(means: NDArray[np.float64], names: tuple[str, ...]) -> Table:
    table = Table(title="mean consensus class score (0 to 100) by true class (rows)")
    table.add_column("true", style="bold")
    for name in names:
        table.add_column(name, justify="right")
    for label, row in scored_classes(means):
        texts = [Text(f"{value:.0f}", style="green" if k == label else "") for k, value in enumerate(row)]
        table.add_row(names[label], *texts)
    return table


def _accuracy(run: queries.RunSummary, accuracies: Mapping[int, float]) -> str:
    """Return the accuracy of ``run``, of those by its number, and whether it may change."""
    if run.run_id not in accuracies:
        return ""
    return f"{accuracies[run.run_id]:.2%}{', provisional' if run.is_provisional else ''}"


def runs_table(
    runs: list[queries.RunSummary],
    outages: Mapping[int, Outage],
    accuracies: Mapping[int, float],
    owners: Mapping[int, str],
    tags: Mapping[int, Sequence[str]],
) -> RenderableType:
    """Return the table of `runs list`, and under it the ``outages`` that some of them wait for.

    Outages, ``accuracies``, the names of ``owners`` and ``tags`` are by the number of a run.
    """
    numbers = ("images", "scored", "accuracy", "images/s", "created")
    columns = ("run", "data", "network", "solver", "state", *numbers, *(("owner",) if owners else ()))
    columns += ("tags",) if tags else ()
    first_out = ("images/s", "owner", "tags", "created", "solver", "network", "scored", "images", "accuracy")
    table = new_table(
        *columns,
        right=("run", *numbers),
        first_out=[name for name in first_out if name in columns],
        wrapped=("data",),
    )
    for run in runs:
        rate = (run.statistics or {}).get("images_per_second")
        table.add_row(
            str(run.run_id),
            run.name,
            run.network,
            run.solver,
            f"{run.state}, waits" if run.run_id in outages else run.state,
            run.images_text,
            f"{run.scored_share:.0%}",
            _accuracy(run, accuracies),
            "" if rate is None else f"{rate:,.1f}",
            f"{run.created_at.astimezone():%Y-%m-%d %H:%M}",
            *((owners.get(run.run_id, ""),) if owners else ()),
            *((", ".join(tags.get(run.run_id, ())),) if tags else ()),
        )
    return Group(table, *(Text(text) for text in sorted({outage.text for outage in outages.values()})))
