"""One chip: its health, and a heat map of its qubits."""

from __future__ import annotations

import io

from sqlalchemy import func, select
from sqlalchemy.orm import Session
from starlette.responses import Response

from producer.dashboard.web.drawing import Drawing, digest
from producer.dashboard.web.visit import Visit
from producer.embeddings import chip_map, chips
from producer.embeddings.chips import ChipSummary
from producer.figures import saving
from producer.figures.chip_map import chip_map_figure
from producer.stack import programs
from producer.stack.programs import Program
from schema.errors import NotFound
from schema.settings import load
from schema.states import ProblemState
from schema.tables import Batch, Problem

_PROBLEMS = 100  # newest good ones that are read
_MAP_S = 60.0
_DPI = 100


def show(visit: Visit) -> Response:
    """Show the chip of ``visit``."""
    with visit.database.reading() as session:
        chip = _chip(session, visit)
        run, problems = _newest(session, chip.graph_id)
    return visit.render(
        "chip.html.j2", title=f"Chip {chip.name}", chip=chip, run=run, problems=problems, most=_PROBLEMS
    )


def heat_map(visit: Visit) -> Drawing:
    """Send the heat map of the chip of ``visit``: what the stored reads say about its qubits.

    It is stored with the run of the newest problem, and drawn anew after the next problem.
    """
    database = visit.database
    with database.reading() as session:
        chip = _chip(session, visit)
        run, problems = _newest(session, chip.graph_id)
    if run is None:
        raise NotFound(f"chip {chip.name} has answered no problem: there are no reads to draw")
    saving.require_matplotlib()

    def draw() -> bytes:
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        arguments = [chip.graph_id, str(_PROBLEMS)]
        found = chip_map.parse(programs.run(Program.CHIP_MAP, arguments, load(), timeout_s=_MAP_S))
        with database.reading() as session:
            graph = chips.read(session, chip.chip_id)
        figure = chip_map_figure(graph, found)
        FigureCanvasAgg(figure)
        file = io.BytesIO()
        figure.savefig(file, format="png", dpi=_DPI)
        return file.getvalue()

    content = digest(chip.graph_id, problems, _PROBLEMS)
    headers = {"Cache-Control": "private, max-age=600"}
    return Drawing(run, f"chip/{chip.chip_id}", content, "image/png", draw, headers)


def _chip(session: Session, visit: Visit) -> ChipSummary:
    number = visit.number("chip")
    for chip in chips.summaries(session):
        if chip.chip_id == number:
            return chip
    raise NotFound(f"there is no chip {number}: the page of solvers lists all chips")


def _newest(session: Session, graph: str) -> tuple[int | None, int]:
    """Return the run of the newest answered problem of ``graph``, None without one, and their number."""
    which = (Problem.graph_id == graph, Problem.state == ProblemState.ANSWERED)
    count = session.execute(select(func.count()).select_from(Problem).where(*which)).scalar_one()
    run = select(Batch.run_id).join(Problem, Problem.batch_id == Batch.id).where(*which)
    return session.execute(run.order_by(Problem.id.desc()).limit(1)).scalar(), count
