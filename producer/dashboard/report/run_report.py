"""A run's report as one file: HTML without other files, or Markdown for a terminal."""

from __future__ import annotations

import base64
import io
from importlib.util import find_spec
from typing import Any

from sqlalchemy.orm import Session

from producer.dashboard.charts import cells, energy_histograms, visible_values
from producer.dashboard.report import pictures, provenance, run_facts, run_values
from producer.dashboard.report.run_facts import RunFacts
from producer.dashboard.web.rendering import environment
from producer.embeddings import chips
from producer.embeddings import queries as embeddings_queries
from producer.figures import embedding, saving
from schema.quantities import count_text

_IMAGES_WITH_ENERGIES = 12
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
        found, notes = finish()
    values |= {"chip": chip, "notes": notes + missing}
    for shown, image in zip(values["images"], facts.least_certain, strict=True):
        if (computed := found.get(image.result.image)) is None:
            continue
        shown["visible"] = visible_values.chart(computed["visible"])
        if "edges" in computed:
            shown["energies"] = energy_histograms.chart(computed, image.result.predicted, facts.classes)
    return environment().get_template("report.html.j2").render(values)


def markdown(session: Session, run: int) -> str:
    """Return the figures and tables of ``run`` in ``session`` as Markdown.

    Raises:
        NotFound: there is no such run.
        Corrupt: stored data of the run are damaged.
    """
    values = _values(session, run_facts.read(session, run))
    return environment().get_template("report.md.j2").render(values)


def chip_png(session: Session, summary: embeddings_queries.EmbeddingFacts) -> tuple[bytes, str]:
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
    return {"source": f"data:image/png;base64,{base64.b64encode(drawing).decode()}", "text": text}, []


def _values(session: Session, facts: RunFacts) -> dict[str, Any]:
    names = facts.classes
    return {
        **run_values.results_values(facts),
        "scores": cells.mean_scores(facts.mean_scores, names),
        "images": [
            run_values.image_values(
                image.result,
                image.scores,
                pictures.picture(image.pixels, image.white, image.source),
                names,
                run_values.BEST_CLASSES,
            )
            for image in facts.least_certain
        ],
        "solver": run_values.solver_values(session, facts.run, facts.counts.accuracy),
        "commands": provenance.commands(facts.run, facts.provenance),
        "provenance": provenance.rows(facts.run, facts.provenance),
        "chip": None,
        "notes": [],
        "here": None,
    }
