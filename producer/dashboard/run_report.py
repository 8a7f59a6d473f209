"""A run's report as one file: HTML that needs nothing else, or Markdown for a terminal."""

from __future__ import annotations

import base64
import functools
import io
import json
import platform
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from producer.dashboard import run_facts, svg_charts
from producer.dashboard.run_facts import ImageFacts, RunFacts
from producer.dashboard.svg_charts import Chart
from producer.embeddings import chips
from producer.embeddings import queries as embeddings_queries
from producer.figures import embedding, saving
from producer.reports import run as reports_run
from producer.reports import solver as reports_solver
from producer.runs import queries
from producer.stack import programs
from producer.stack.programs import Program, RunningProgram
from schema.errors import AnnealqError
from schema.parameters import Solver
from schema.settings import load

_MOST_CLASSES = 26  # wider tables are not read
_SPECTRA = 12  # images whose energies are drawn
_SPECTRA_S = 120.0
_BEST = 3  # classes shown for an image
_CHIP_DPI = 80
_OPTIONS = {  # parameters whose option has another name
    "annealing_time_us": "--annealing-time",
    "anneal_schedule": "--anneal-schedule",
}


@dataclass(frozen=True)
class Cell:
    """A number in a coloured table. shade: 0 to 70, percent of the colour."""

    text: str
    shade: int
    right: bool


@dataclass(frozen=True)
class ConfusionRow:
    """A true class, and what became of its images."""

    name: str
    cells: tuple[Cell, ...]
    share: str = ""


@dataclass(frozen=True)
class ConfusionTable:
    """Predicted classes across, true classes down."""

    columns: tuple[str, ...]
    rows: tuple[ConfusionRow, ...]


def html(session: Session, run: int) -> str:
    """The whole report as one page: no script, no other file, nothing fetched.

    Energy histograms need the packages of a worker, the drawing of the embedding needs matplotlib; where
    they are missing, the page says so.

    Raises:
        NotFound: there is no such run. Corrupt: something that is stored for it is damaged.
    """
    found = run_facts.read(session, run)
    with _asking(run, [one.held.image for one in found.least_certain[:_SPECTRA]]) as answer:
        chip, missing = _chip(session, found)
        values = _values(session, found)
        spectra, notes = answer()
    values |= {"chip": chip, "notes": notes + missing}
    values["images"] = shown = [image(one, found.classes, _BEST) for one in found.least_certain]
    for one, held in zip(shown, found.least_certain, strict=True):
        if (spectrum := spectra.get(held.held.image)) is not None:
            one["energies"] = energies(spectrum, held.held.predicted, found.classes)
    return environment().get_template("report.html.j2").render(values)


def markdown(session: Session, run: int) -> str:
    """The report's figures and tables as Markdown.

    Raises:
        NotFound: there is no such run. Corrupt: something that is stored for it is damaged.
    """
    found = run_facts.read(session, run)
    values = _values(session, found) | {"notes": []}
    values["images"] = [image(one, found.classes, _BEST) for one in found.least_certain]
    return environment().get_template("report.md.j2").render(values)


def live(session: Session, run: int, *, scores: bool) -> dict[str, Any]:
    """What a page of a run shows, for the template; ``embedding``: id and text of the one to draw.

    Raises:
        NotFound: there is no such run. Corrupt: something that is stored for it is damaged.
    """
    found = run_facts.read(session, run, scores=scores)
    values = _values(session, found) | {"chip": None, "notes": []}
    values["images"] = [image(one, found.classes, _BEST) for one in found.least_certain]
    if found.provenance.embeddings:
        held = found.provenance.embeddings[-1]
        values["embedding"] = (held.embedding_id, f"embedding {held.embedding_id}: {held.tiles} tiles")
    return values


@functools.cache
def environment() -> Environment:
    """Templates of this package. In HTML all that comes from data is escaped, in Markdown by `cell`."""
    made = Environment(
        loader=PackageLoader("producer.dashboard"),
        autoescape=select_autoescape(["html.j2"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"time": _time, "cell": _table_cell}
    return made


def png(pixels: NDArray[np.uint8]) -> str:
    """(H, W) uint8 as a data URI."""
    from PIL import Image as Picture

    file = io.BytesIO()
    Picture.fromarray(pixels).save(file, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def confusion(found: RunFacts) -> ConfusionTable | None:
    """Images by true and predicted class; None without labels, or with too many classes."""
    if not found.confusion or len(found.classes) > _MOST_CLASSES:
        return None
    undecided = any(predicted is None for _, predicted, _ in found.confusion)
    columns: list[int | None] = [*range(len(found.classes)), *([None] if undecided else [])]
    cells = {(label, predicted): count for label, predicted, count in found.confusion}
    rows = []
    for label in sorted({label for label, _, _ in found.confusion}):
        counts = [cells.get((label, predicted), 0) for predicted in columns]
        whole = sum(counts)
        shown = tuple(
            Cell(f"{count:,}" if count else "", 10 + _shade(count / whole), predicted == label)
            for count, predicted in zip(counts, columns, strict=True)
        )
        rows.append(ConfusionRow(found.classes[label], shown, f"{cells.get((label, label), 0) / whole:.1%}"))
    names = tuple("undecided" if k is None else found.classes[k] for k in columns)
    return ConfusionTable(names, tuple(rows))


def mean_scores(found: RunFacts) -> ConfusionTable | None:
    """Mean consensus class scores by true class, as in the paper's tables; None as for `confusion`."""
    if found.mean_scores is None or len(found.classes) > _MOST_CLASSES:
        return None
    rows = tuple(
        ConfusionRow(
            found.classes[label],
            tuple(Cell(f"{v:.0f}", _shade(v / 100.0), k == label) for k, v in enumerate(means.tolist())),
        )
        for label, means in enumerate(found.mean_scores)
        if not np.isnan(means).any()
    )
    return ConfusionTable(found.classes, rows)


def over_time(found: RunFacts) -> list[Chart]:
    """Images scored and QPU time charged, from the run's start to its end or its last answer."""
    start, ends = found.run.started_at, [one.at for one in (*found.scored, *found.charged)]
    if start is None or not ends:
        return []
    end = max(ends)
    charts = (
        [svg_charts.rate("Throughput", "images/s", found.scored, start, end, 1.0)] if found.scored else []
    )
    if found.charged:
        title, unit = "QPU time charged", "ms of QPU time a second"
        charts.append(svg_charts.rate(title, unit, found.charged, start, end, 1e-3))
    return charts


def margins(found: RunFacts) -> Chart | None:
    """How far the best class is from the second."""
    if not found.margins.any():
        return None
    edges = np.linspace(0.0, 1.0, run_facts.MARGIN_BINS + 1)
    label = "score of the best class less that of the second"
    return svg_charts.histogram("Margins", label, "images", edges, [("images", found.margins)])


def command(run: queries.RunSummary) -> str:
    """The command line that makes the run again, with every choice that it was made with."""
    words = ["annealq", "classify", run.name, "-n", run.network, "-s", run.solver]
    if run.rescored_from is not None:
        words = ["annealq", "runs", "rescore", str(run.rescored_from)]
    for name, value in run_facts.parameters_of(run).items():
        if run.rescored_from is not None and name not in _RESCORED:
            continue
        if name == "noise" and not value:
            continue
        text = json.dumps(value) if isinstance(value, (list, tuple)) else str(value)
        words += [_OPTIONS.get(name, "--" + name.replace("_", "-")), text]
    if run.rescored_from is None:
        words.append("--no-calibration")  # what it gave is named already
    return shlex.join(words)


_RESCORED = {"reads", "rule", "fraction", "beta", "unembedding"}


def _values(session: Session, found: RunFacts) -> dict[str, Any]:
    run = found.run
    solver = None
    if run.statistics and Solver(run.solver).is_remote:
        solver = reports_solver.solver_rows(
            run.statistics, embeddings_queries.layers_of_run(session, run.run_id)
        )
    names = [("undecided" if k is None else found.classes[k], f"{n:,}") for k, n in found.predictions]
    return {
        "run": run,
        "consensus": reports_run.consensus_text(run.parameters),
        "tiles": _tiles(found),
        "charts": over_time(found),
        "confusion": confusion(found),
        "predictions": names,
        "scores": mean_scores(found),
        "certainty": margins(found),
        "solver": solver,
        "command": command(run),
        "provenance": _provenance(found),
        "here": None,
        "progress": None,
    }


def _tiles(found: RunFacts) -> list[tuple[str, str, str]]:
    run, counts, figures = found.run, found.counts, found.run.statistics or {}
    tiles = [("images", f"{run.images:,}", f"{counts.decided:,} decided, {counts.undecided:,} undecided")]
    if counts.accuracy is not None:
        tiles.insert(0, ("accuracy", f"{counts.accuracy:.2%}", f"{counts.correct:,} of {counts.labelled:,}"))
    if rate := figures.get("images_per_second"):
        tiles.append(("throughput", f"{rate:,.1f} / s", f"images, over {figures['elapsed_seconds']:,.1f} s"))
    if charged := figures.get("qpu_access_time_us"):
        each = figures["qpu_access_time_us_per_image"]
        tiles.append(("QPU time", f"{charged / 1e6:,.3f} s", f"{each:,.1f} us an image"))
        tiles.append(("problems", f"{figures['problems_sent']:,}", f"{figures['duplicates']:,} duplicates"))
    if (latency := figures.get("latency_ms", {}).get("p50")) is not None:
        p99 = figures["latency_ms"]["p99"]
        tiles.append(("latency, median", f"{latency / 1e3:,.2f} s", f"99 % within {p99 / 1e3:,.2f} s"))
    return tiles


def image(one: ImageFacts, names: Sequence[str], best: int | None = None) -> dict[str, Any]:
    """An image for the template; ``best``: only so many of the highest scores, none of 0."""
    held = one.held
    order = range(len(names)) if best is None else np.argsort(-one.scores, kind="stable")[:best].tolist()
    wrong = held.label is not None and held.predicted != held.label
    shares = [(names[k], round(100.0 * float(one.scores[k]), 1)) for k in order]
    return {
        "number": held.image,
        "file": one.source,
        "source": png(one.pixels),
        "predicted": None if held.predicted is None else names[held.predicted],
        "label": None if held.label is None else names[held.label],
        "verdict": "" if held.label is None else "wrong" if wrong else "right",
        "tied": held.status == "tied",
        "margin": f"{held.margin:.3f}",
        "scores": [(name, share) for name, share in shares if share or best is None],
        "energies": None,
    }


def energies(
    spectrum: Mapping[str, Any], predicted: int | None, names: Sequence[str], *, large: bool = False
) -> Chart:
    """Energy histogram of an image's reads: predicted class, or that of most reads, and others."""
    edges = np.array(spectrum["edges"])
    counts = {int(key): np.array(values) for key, values in spectrum["classes"].items()}
    none = counts.pop(-1, np.zeros(len(edges) - 1, dtype=np.int64))
    if predicted is None and counts:
        predicted = max(counts, key=lambda key: int(counts[key].sum()))
    mine = np.zeros_like(none) if predicted is None else counts.pop(predicted, np.zeros_like(none))
    name = "one class" if predicted is None else f"class {names[predicted]}"
    kinds = [(name, mine), ("another class", sum(counts.values(), np.zeros_like(none)))]
    kinds.append(("none or several", none))
    size = svg_charts.LARGE if large else svg_charts.SMALL
    return svg_charts.histogram("Energies of the reads", "energy", "reads", edges, kinds, size)


@contextmanager
def _asking(run: int, images: Sequence[int]) -> Iterator[Callable[[], tuple[dict[int, Any], list[str]]]]:
    """Energy histograms by image, or a remark why there are none, from a process of the worker's code.

    It computes while the rest of the page is made.
    """
    if not images:
        yield lambda: ({}, [])
    elif find_spec("torch") is None:
        yield lambda: ({}, ["No energies: they need a worker's packages, pip install 'annealq[worker]'."])
    else:
        arguments = [str(run), *map(str, images)]
        with programs.start(Program.ENERGIES, arguments, load(), timeout_s=_SPECTRA_S) as running:
            yield lambda: _answer(running)


def _answer(running: RunningProgram) -> tuple[dict[int, Any], list[str]]:
    try:
        text = running.text()
    except AnnealqError as error:
        return {}, [f"No energies: {error}"]
    return {int(image): spectrum for image, spectrum in json.loads(text).items()}, []


def chip_png(session: Session, held: embeddings_queries.EmbeddingSummary) -> tuple[bytes, str]:
    """An embedding drawn on its chip, as PNG, and what it shows in words.

    Raises:
        ParameterError: matplotlib is missing. AnnealqError: it has no chains. Corrupt: they are damaged.
    """
    saving.require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    tiling, chip = (
        embeddings_queries.read_tiling(session, held.embedding_id),
        chips.read(session, held.chip_id),
    )
    text = (
        f"embedding {held.embedding_id}: {tiling.tiles} tiles on {chip.name}, {len(tiling.qubits):,} of "
        f"{len(chip.qubits):,} qubits, longest chain {tiling.longest_chain}"
    )
    layers = embeddings_queries.unit_layers(session, held.embedding_id, held.units)
    figure = embedding.chip_figure(chip, tiling, text, layers)
    file = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(file, format="png", dpi=_CHIP_DPI)
    return file.getvalue(), text


def _chip(session: Session, found: RunFacts) -> tuple[dict[str, str] | None, list[str]]:
    """The newest embedding that the run used, drawn on its chip."""
    if not found.provenance.embeddings:
        return None, []
    if find_spec("matplotlib") is None:
        return None, ["The embedding is not drawn: pip install 'annealq[plots]'."]
    drawn, text = chip_png(session, found.provenance.embeddings[-1])
    return {"source": f"data:image/png;base64,{base64.b64encode(drawn).decode()}", "text": text}, []


def _provenance(found: RunFacts) -> list[tuple[str, str]]:
    run, made = found.run, found.provenance
    net = made.network
    rows = [
        ("data", f"{run.name}, {run.images:,} images in {run.batches:,} batches"),
        ("content, sha256", made.content_sha256),
        ("network", f"{run.network}, {net.origin}; trained with {json.dumps(net.training, sort_keys=True)}"),
        ("weights, sha256", net.weights_sha256 or "none"),
        ("parameters", json.dumps(run_facts.parameters_of(run), sort_keys=True)),
    ]
    if made.calibration is not None:
        fitted = made.calibration
        rows.append(("calibration", f"{fitted.calibration_id}, on {fitted.images:,} images of {fitted.name}"))
    for held in made.embeddings:
        seed = "" if held.seed is None else f", seed {held.seed}"
        rows += [
            ("solver", f"{held.solver}: {held.chip}, graph {held.graph_id}"),
            ("embedding", f"{held.embedding_id}: {held.tiles} tiles by {held.method}{seed}"),
        ]
    stamps = (("enqueued", run.created_at), ("started", run.started_at), ("finished", run.finished_at))
    rows += [(name, _time(at)) for name, at in stamps if at is not None]
    rows.append(("this report", f"{_time(datetime.now(UTC))}, {_versions()}"))
    return rows


def _versions() -> str:
    packages = ", ".join(f"{name} {version(name)}" for name in ("annealq", "numpy", "sqlalchemy"))
    return f"{packages}, Python {platform.python_version()}"


def _shade(share: float) -> int:
    return round(60.0 * float(np.sqrt(share)))


def _time(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _table_cell(text: str) -> str:
    """A text as one cell of a Markdown table."""
    return " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
