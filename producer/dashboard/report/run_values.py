"""What is shown about a run, as values of templates: for its page and for its report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from producer.dashboard.charts import cells, svg_charts
from producer.dashboard.charts.svg_charts import Chart
from producer.dashboard.report.aggregates import MARGIN_BINS
from producer.dashboard.report.run_facts import Picture, RunResults
from producer.embeddings import queries as embeddings_queries
from producer.progress.rounds import changes_text, saved_text
from producer.reports import solver as reports_solver
from producer.reports.certainty import guarantee_rows
from producer.reports.parameters import CONTROLS, consensus_text, outcome_text, promise_text, without_text
from producer.runs import qpus, queries
from producer.runs.results import class_names
from producer.runs.summary import accuracy_note, confusion_table
from schema.network.reliability import BINS
from schema.parameters import Solver
from schema.quantities import count_text, number_text

BEST_CLASSES = 3  # shown for an image


def results_values(results: RunResults) -> dict[str, Any]:
    """Return the template's values for ``results``: figures, charts, tables; without images."""
    run, names = results.run, results.classes
    return {
        "run": run,
        "consensus": consensus_text(run.parameters),
        "without": without_text(run.parameters),
        "tiles": _tiles(results),
        "charts": [*_front(results.promise), *_over_time(results)],
        "promise": None
        if results.promise is None
        else (promise_text(results.promise), outcome_text(results.promise["outcome"])),
        "confusion": cells.confusion(confusion_table(results.confusion, names)),
        "predictions": [
            (k, "undecided" if k is None else names[k], f"{count:,}") for k, count in results.predictions
        ],
        "certainty": _certainty(results),
        "ranking": results.certainty.ranking,
    }


def _front(promise: dict[str, Any] | None) -> list[Chart]:
    return [] if promise is None or not promise["qpu_us"] else [svg_charts.front(promise["front"])]


def _tiles(results: RunResults) -> list[tuple[str, str, str]]:
    run, counts, figures = results.run, results.counts, results.run.statistics or {}
    tiles = [("images", run.images_text, f"{counts.decided:,} decided, {counts.undecided:,} undecided")]
    if counts.accuracy is not None:
        tiles.insert(0, ("accuracy", f"{counts.accuracy:.2%}", accuracy_note(run, counts)))
    if controls := figures.get("controls"):
        shown = [(key, name) for key, name in CONTROLS.items() if controls.get(key) is not None]
        for at, (key, name) in enumerate(shown, start=1):
            share = controls[key]
            text = f"accuracy without annealing, {count_text(share['images'], 'image')}"
            if (us := share.get("us_per_image")) is not None:
                text += f", {number_text(us)} us each"
            tiles.insert(at, (name.removeprefix("the "), f"{share['accuracy']:.2%}", text))
    if rate := figures.get("images_per_second"):
        tiles.append(("throughput", f"{rate:,.1f} / s", f"images, over {figures['elapsed_seconds']:,.1f} s"))
    if charged := figures.get("qpu_access_time_us"):
        each = figures["qpu_access_time_us_per_image"]
        guessed = reports_solver.estimated_part(figures.get("qpu_charge_estimated_us"))
        tiles.append(("QPU time", f"{charged / 1e6:,.3f} s", f"{each:,.1f} us per image{guessed}"))
        tiles.append(
            ("problems", f"{figures['problems_sent']:,}", count_text(figures["duplicates"], "duplicate"))
        )
    tiles += _rounds(results)
    if (latency := figures.get("latency_ms", {}).get("p50")) is not None:
        p99 = figures["latency_ms"]["p99"]
        tiles.append(("latency, median", f"{latency / 1e3:,.2f} s", f"99 % within {p99 / 1e3:,.2f} s"))
    return tiles


def _rounds(results: RunResults) -> list[tuple[str, str, str]]:
    """Return the later rounds of reads, if the run has any: name, value and note of each tile."""
    run, again = results.run, results.again
    if again is None:
        return []
    tiles = []
    for each in results.rounds[1:]:
        note = f"{count_text(each.reads, 'read')} more of each, {count_text(each.problems, 'problem')}"
        if each.qpu_time_us:
            note += f", {each.qpu_time_us / 1e6:,.3f} s of QPU time"
        tiles.append((f"round {each.round}", count_text(each.images, "image"), note))
    if again.images:
        note = changes_text(again, labelled=run.labelled).partition(", ")[2]
        if again.saved_us is not None:
            note += f"; saved {saved_text(again, sum(each.reads for each in results.rounds))}"
        tiles.append(("read again", count_text(again.images, "image"), note))
    if run.is_provisional:
        tiles.append(("results", "provisional", "a later round of reads may change them"))
    elif again.notes and " is left out: " in again.notes[-1]:
        tiles.append(("rounds", f"{run.round}", again.notes[-1]))
    return tiles


def _over_time(results: RunResults) -> list[Chart]:
    start, ends = results.run.started_at, [done.when for done in (*results.scored, *results.charged)]
    if start is None or not ends:
        return []
    charts = []
    if results.scored:
        charts.append(svg_charts.rate("Throughput", "images/s", results.scored, start, max(ends), 1.0))
    if results.charged:
        title, label = "QPU time charged", "ms of QPU time per second"
        charts.append(svg_charts.rate(title, label, results.charged, start, max(ends), 1e-3))
    return charts


def _certainty(results: RunResults) -> dict[str, Any] | None:
    """Return notes on the certainty of the classes, charts, and the bins of the reliability diagram."""
    if not results.certainty.images:
        return None
    figures = results.run.statistics or {}
    bins, error, saturation = (
        figures.get("reliability"),
        results.certainty.calibration,
        results.certainty.saturation,
    )
    charts = [] if saturation else [_margins(results)]
    if bins and error:
        charts.insert(0, svg_charts.reliability(bins, BINS, error))
    rows = [
        (
            f"{each['index'] / BINS:.3f} to {(each['index'] + 1) / BINS:.3f}",
            f"{each['images']:,}",
            f"{each['probability']:.2%}",
            f"{each['correct'] / each['images']:.2%}",
        )
        for each in bins or ()
    ]
    balance = results.certainty.balance and f"unbalanced classes: {results.certainty.balance}"
    notes = [note for note in (balance, results.certainty.losses, saturation) if note]
    notes += [f"{name}: {value}" for name, value in guarantee_rows(figures)]
    if sizes := (figures.get("guarantee") or {}).get("set_sizes"):
        charts.append(_set_sizes({int(size): images for size, images in sizes.items()}))
    return {"notes": notes, "charts": charts, "rows": rows, "error": error}


def _set_sizes(images: dict[int, int]) -> Chart:
    """Return the histogram of the sizes of sets of classes, by ``images`` of each size."""
    edges = np.arange(0.5, max(images) + 1.0)
    counts = np.array([images.get(size, 0) for size in range(1, max(images) + 1)])
    return svg_charts.histogram("Sets of classes", "classes", "images", edges, [("images", counts)])


def _margins(results: RunResults) -> Chart:
    edges = np.linspace(0.0, 1.0, MARGIN_BINS + 1)
    label = "score of the best class minus score of the second"
    return svg_charts.histogram("Margins", label, "images", edges, [("images", results.margins)])


def solver_values(
    session: Session, run: queries.RunSummary, accuracy: float | None
) -> list[tuple[str, str]] | None:
    """Return names and values of the QPU figures of ``run`` in ``session``; None for solvers without one.

    ``accuracy`` is the run's.
    """
    if not Solver(run.solver).is_remote:
        return None
    rows = reports_solver.qpu_rows(qpus.uses(session, run.run_id, accuracy))
    if run.statistics:
        layers = embeddings_queries.layers_of_run(session, run.run_id)
        rows += reports_solver.solver_rows(run.statistics, layers)
    return rows


def image_values(
    result: queries.Classified,
    scores: NDArray[np.float32],
    picture: Picture,
    names: Sequence[str],
    best: int | None = None,
) -> dict[str, Any]:
    """Return the template's values for the image ``result`` with its (K,) ``scores`` and ``picture``.

    ``names`` are those of all classes. Only the ``best`` highest scores above 0 are shown, or all if it is
    None.
    """
    order = range(len(names))
    if best is not None:
        order = np.argsort(-scores, kind="stable")[:best].tolist()
    is_wrong = result.label is not None and result.predicted != result.label
    held = None if result.class_set is None else class_names(result.class_set, names)
    shares = [(names[k], round(100.0 * float(scores[k]), 1)) for k in order]
    return {
        "number": result.image,
        "file": picture.source,
        "source": Markup(picture.address),  # noqa: S704 - base64: it need not be escaped
        "vector": picture.vector,
        "predicted": None if result.predicted is None else names[result.predicted],
        "label": None if result.label is None else names[result.label],
        "verdict": "" if result.label is None else "wrong" if is_wrong else "right",
        "tied": result.status == "tied",
        "probability": "" if result.probability is None else f"{result.probability:.4f}",
        "set": "" if held is None else ", ".join(held),
        "gap": "" if result.energy_gap is None else f"{result.energy_gap:.3f}",
        "margin": f"{result.margin:.3f}",
        "scores": [(name, share) for name, share in shares if share or best is None],
        "visible": None,
        "energies": None,
    }
