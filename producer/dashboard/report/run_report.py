"""A run's report as one file: HTML without other files, or Markdown for a terminal."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
from sqlalchemy.orm import Session

from producer.dashboard.charts import cells, energy_histograms, svg_charts
from producer.dashboard.charts.svg_charts import Chart
from producer.dashboard.report import provenance, run_facts
from producer.dashboard.report.run_facts import ImageFacts, RunFacts
from producer.dashboard.web.rendering import environment
from producer.embeddings import chips
from producer.embeddings import queries as embeddings_queries
from producer.figures import embedding, saving
from producer.reports import solver as reports_solver
from producer.reports.certainty import BINS
from producer.reports.parameters import consensus_text
from producer.runs import qpus
from producer.runs.summary import accuracy_note, confusion_table
from schema.parameters import Solver
from schema.quantities import count_text

_IMAGES_WITH_ENERGIES = 12
_BEST_CLASSES = 3  # shown for an image
_CHIP_DPI = 80


def html(session: Session, run: int) -> str:
    """Return the report of ``run`` in ``session`` as one page, without scripts or links to files.

    Energy histograms need the packages of a worker, and the embedding's drawing needs matplotlib; the page
    names what is missing.

    Raises:
        NotFound: there is no such run.
        Corrupt: stored data of the run are damaged.
    """
    facts = run_facts.read(session, run)
    drawn = [image.result.image for image in facts.least_certain[:_IMAGES_WITH_ENERGIES]]
    with energy_histograms.start(run, drawn) as finish:
        chip, missing = _chip(session, facts)
        values = _values(session, facts)
        histograms, notes = finish()
    values |= {"chip": chip, "notes": notes + missing}
    for shown, image in zip(values["images"], facts.least_certain, strict=True):
        if (histogram := histograms.get(image.result.image)) is not None:
            shown["energies"] = energy_histograms.chart(histogram, image.result.predicted, facts.classes)
    return environment().get_template("report.html.j2").render(values)


def markdown(session: Session, run: int) -> str:
    """Return the figures and tables of ``run`` in ``session`` as Markdown.

    Raises:
        NotFound: there is no such run.
        Corrupt: stored data of the run are damaged.
    """
    values = _values(session, run_facts.read(session, run))
    return environment().get_template("report.md.j2").render(values)


def live(session: Session, run: int, *, scores: bool) -> dict[str, Any]:
    """Return the values of the template of ``run``'s page, read from ``session``.

    With ``scores`` they include mean scores, for which every image is read. `embedding` is id and text of the
    embedding to draw, if there is one.

    Raises:
        NotFound: there is no such run.
        Corrupt: stored data of the run are damaged.
    """
    facts = run_facts.read(session, run, scores=scores)
    values = _values(session, facts)
    if facts.provenance.embeddings:
        newest = facts.provenance.embeddings[-1]
        values["embedding"] = (
            newest.embedding_id,
            f"embedding {newest.embedding_id}: {count_text(newest.tiles or 1, 'tile')}",
        )
    return values


def image_values(image: ImageFacts, names: Sequence[str], best: int | None = None) -> dict[str, Any]:
    """Return the template's values for ``image``; ``names`` are those of all classes.

    Only the ``best`` highest scores above 0 are shown, or all if it is None.
    """
    result = image.result
    order = range(len(names))
    if best is not None:
        order = np.argsort(-image.scores, kind="stable")[:best].tolist()
    is_wrong = result.label is not None and result.predicted != result.label
    shares = [(names[k], round(100.0 * float(image.scores[k]), 1)) for k in order]
    return {
        "number": result.image,
        "file": image.source,
        "source": _data_uri(_png(image)),
        "predicted": None if result.predicted is None else names[result.predicted],
        "label": None if result.label is None else names[result.label],
        "verdict": "" if result.label is None else "wrong" if is_wrong else "right",
        "tied": result.status == "tied",
        "probability": "" if result.probability is None else f"{result.probability:.4f}",
        "gap": "" if result.energy_gap is None else f"{result.energy_gap:.3f}",
        "margin": f"{result.margin:.3f}",
        "scores": [(name, share) for name, share in shares if share or best is None],
        "energies": None,
    }


def chip_png(session: Session, summary: embeddings_queries.EmbeddingSummary) -> tuple[bytes, str]:
    """Return a drawing of the embedding ``summary`` in ``session`` on its chip as PNG, and a description.

    Raises:
        ParameterError: matplotlib is missing.
        AnnealqError: the embedding has no chains.
        Corrupt: the chains are damaged.
    """
    saving.require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    tiling = embeddings_queries.read_tiling(session, summary.embedding_id)
    chip = chips.read(session, summary.chip_id)
    text = (
        f"embedding {summary.embedding_id}: {count_text(tiling.tiles, 'tile')} on {chip.name}, "
        f"{len(tiling.qubits):,} of {count_text(len(chip.qubits), 'qubit')}, longest chain "
        f"{tiling.longest_chain}"
    )
    layers = embeddings_queries.unit_layers(session, summary.embedding_id, summary.units)
    figure = embedding.chip_figure(chip, tiling, text, layers)
    file = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(file, format="png", dpi=_CHIP_DPI)
    return file.getvalue(), text


def _chip(session: Session, facts: RunFacts) -> tuple[dict[str, str] | None, list[str]]:
    if not facts.provenance.embeddings:
        return None, []
    if find_spec("matplotlib") is None:
        return None, ["The embedding is not drawn: pip install 'annealq[plots]'."]
    drawing, text = chip_png(session, facts.provenance.embeddings[-1])
    return {"source": _data_uri(drawing), "text": text}, []


def _values(session: Session, facts: RunFacts) -> dict[str, Any]:
    run, names = facts.run, facts.classes
    solver = None
    if Solver(run.solver).is_remote:
        solver = reports_solver.qpu_rows(qpus.uses(session, run.run_id))
        if run.statistics:
            layers = embeddings_queries.layers_of_run(session, run.run_id)
            solver += reports_solver.solver_rows(run.statistics, layers)
    return {
        "run": run,
        "consensus": consensus_text(run.parameters),
        "tiles": _tiles(facts),
        "charts": _over_time(facts),
        "confusion": cells.confusion(confusion_table(facts.confusion, names)),
        "predictions": [
            ("undecided" if k is None else names[k], f"{count:,}") for k, count in facts.predictions
        ],
        "scores": cells.mean_scores(facts.mean_scores, names),
        "certainty": _certainty(facts),
        "ranking": facts.certainty.ranking,
        "images": [image_values(image, names, _BEST_CLASSES) for image in facts.least_certain],
        "solver": solver,
        "commands": provenance.commands(facts),
        "provenance": provenance.rows(facts),
        "chip": None,
        "notes": [],
        "here": None,
        "progress": None,
    }


def _tiles(facts: RunFacts) -> list[tuple[str, str, str]]:
    run, counts, figures = facts.run, facts.counts, facts.run.statistics or {}
    tiles = [("images", f"{run.images:,}", f"{counts.decided:,} decided, {counts.undecided:,} undecided")]
    if counts.accuracy is not None:
        tiles.insert(0, ("accuracy", f"{counts.accuracy:.2%}", accuracy_note(run, counts)))
    if controls := figures.get("controls"):
        for at, (name, key) in enumerate((("network itself", "network"), ("random bits", "random_bits"))):
            share = controls[key]
            text = f"accuracy without annealing, {count_text(share['images'], 'image')}"
            tiles.insert(1 + at, (name, f"{share['accuracy']:.2%}", text))
    if rate := figures.get("images_per_second"):
        tiles.append(("throughput", f"{rate:,.1f} / s", f"images, over {figures['elapsed_seconds']:,.1f} s"))
    if charged := figures.get("qpu_access_time_us"):
        each = figures["qpu_access_time_us_per_image"]
        guessed = reports_solver.estimated_part(figures.get("qpu_charge_estimated_us"))
        tiles.append(("QPU time", f"{charged / 1e6:,.3f} s", f"{each:,.1f} us per image{guessed}"))
        tiles.append(
            ("problems", f"{figures['problems_sent']:,}", count_text(figures["duplicates"], "duplicate"))
        )
    if (latency := figures.get("latency_ms", {}).get("p50")) is not None:
        p99 = figures["latency_ms"]["p99"]
        tiles.append(("latency, median", f"{latency / 1e3:,.2f} s", f"99 % within {p99 / 1e3:,.2f} s"))
    return tiles


def _over_time(facts: RunFacts) -> list[Chart]:
    start, ends = facts.run.started_at, [done.when for done in (*facts.scored, *facts.charged)]
    if start is None or not ends:
        return []
    charts = []
    if facts.scored:
        charts.append(svg_charts.rate("Throughput", "images/s", facts.scored, start, max(ends), 1.0))
    if facts.charged:
        title, label = "QPU time charged", "ms of QPU time per second"
        charts.append(svg_charts.rate(title, label, facts.charged, start, max(ends), 1e-3))
    return charts


def _certainty(facts: RunFacts) -> dict[str, Any] | None:
    """Return notes on the certainty of the classes, charts, and the bins of the reliability diagram."""
    if not facts.certainty.images:
        return None
    figures = facts.run.statistics or {}
    bins, error, saturation = (
        figures.get("reliability"),
        facts.certainty.calibration,
        facts.certainty.saturation,
    )
    charts = [] if saturation else [_margins(facts)]
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
    return {"notes": [saturation] if saturation else [], "charts": charts, "rows": rows, "error": error}


def _margins(facts: RunFacts) -> Chart:
    edges = np.linspace(0.0, 1.0, run_facts.MARGIN_BINS + 1)
    label = "score of the best class minus score of the second"
    return svg_charts.histogram("Margins", label, "images", edges, [("images", facts.margins)])


def _png(image: ImageFacts) -> bytes:
    """Return the pixels of ``image`` as PNG, from black to white in the range that its network takes."""
    from PIL import Image as Picture

    grey = (image.pixels.astype(np.float64) * (255.0 / image.white)).round().clip(0, 255).astype(np.uint8)
    file = io.BytesIO()
    Picture.fromarray(grey).save(file, "PNG", optimize=True)
    return file.getvalue()


def _data_uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
