"""QPUs with their queue, price and health; their chips and embeddings."""

from __future__ import annotations

from typing import Any

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session
from starlette.responses import Response

from producer.dashboard.report import run_report
from producer.dashboard.views import overview
from producer.dashboard.web.tables import Cell, Link, Mark, PageTable
from producer.dashboard.web.visit import Visit
from producer.embeddings import chips
from producer.embeddings import queries as embeddings
from producer.embeddings.chips import ChipSummary
from producer.embeddings.queries import EmbeddingSummary
from schema.states import ProblemState
from schema.tables import Problem
from schema.tables.costs import IN_FLIGHT, charged_us

_MEASURED = 50  # good problems from which on a chip is compared with its past


def show(visit: Visit) -> Response:
    """Show the solvers with qubits, their QPUs and embeddings, for ``visit``."""
    with visit.database.reading() as session:
        solvers = overview.solver_rows(session, visit.database.now(session))
        qpus = _qpus(session)
        found, known = embeddings.summaries(session), chips.summaries(session)
        deprecated = [f"{one.solver}: {one.name}: {one.text}" for one in chips.deprecations(session)]
    listings = [_solver_table(solvers), _qpu_table(qpus), _chip_table(known), _embedding_table(found)]
    text = None if not deprecated else "Deprecated: " + "; ".join(deprecated)
    return visit.render(
        "listings.html.j2", title="Solvers", text=text, older=None, parts=None, listings=listings
    )


def embedding_png(visit: Visit) -> Response:
    """Send a drawing of the embedding of ``visit`` on its chip."""
    with visit.database.reading() as session:
        summary = embeddings.embedding(session, visit.number("embedding"))
        drawing, _ = run_report.chip_png(session, summary)
    return Response(drawing, media_type="image/png", headers={"Cache-Control": "private, max-age=3600"})


def _solver_table(solvers: list[dict[str, Any]]) -> PageTable:
    return PageTable(
        title="",
        caption="open problems and charges of each solver",
        columns=(
            *("solver", "state", "reserved", "being submitted", "submitted"),
            *("seconds charged today (UTC)", "this month", "in all"),
        ),
        rows=[
            [
                each["name"],
                Mark(each["state"], each["colour"]),
                *(each[state] for state in ("reserved", "sending", "sent")),
                *(round(each[name] / 1e6, 3) for name in ("today_us", "month_us", "charged_us")),
            ]
            for each in solvers
        ],
        empty="No problems have been submitted to a solver with qubits yet.",
    )


def _qpu_table(qpus: list[list[Cell]]) -> PageTable:
    return PageTable(
        title="QPUs",
        caption="queue and price: problems in flight, and what answered ones were charged",
        columns=(
            "QPU",
            "in flight",
            "answered",
            "failed",
            "us a problem",
            "us an image",
            "seconds in all",
        ),
        rows=qpus,
        empty="No problem has been sent to a QPU yet.",
    )


def _chip_table(known: list[ChipSummary]) -> PageTable:
    return PageTable(
        title="Chips",
        caption="health of working graphs, those used last first",
        columns=(
            "chip",
            "graph",
            "qubits",
            "couplers",
            "good problems",
            "compared with its past",
            "seen",
        ),
        rows=[_chip(chip) for chip in known],
        empty="No chip is known yet.",
    )


def _embedding_table(found: list[EmbeddingSummary]) -> PageTable:
    return PageTable(
        title="Embeddings",
        caption="newest first",
        columns=(
            *("id", "network", "chip", "graph", "state", "tiles", "qubits", "longest chain"),
            *("search, seconds", "problems"),
        ),
        rows=[_embedding(each) for each in found],
        empty="No embedding yet.",
    )


def _qpus(session: Session) -> list[list[Cell]]:
    """Return a row for each QPU that problems were sent to, with its queue and its price."""
    answered = Problem.state == ProblemState.ANSWERED
    rows = session.execute(
        select(
            Problem.qpu,
            func.count(case((Problem.state.in_(IN_FLIGHT), 1))),
            func.count(case((answered, 1))),
            func.count(case((Problem.state == ProblemState.FAILED, 1))),
            func.avg(case((answered, Problem.charged_us))),
            func.sum(case((answered, Problem.count))),
            func.sum(case((answered, Problem.charged_us))),
            func.sum(charged_us()),
        )
        .where(Problem.qpu.is_not(None))
        .group_by(Problem.qpu)
        .order_by(Problem.qpu)
    )
    return [
        [
            qpu,
            in_flight,
            done,
            failed,
            None if mean_us is None else round(float(mean_us), 1),
            round(float(us or 0.0) / int(images), 1) if images else None,
            round(float(total_us or 0.0) / 1e6, 3),
        ]
        for qpu, in_flight, done, failed, mean_us, images, us, total_us in rows
    ]


def _chip(chip: ChipSummary) -> list[Cell]:
    usual = "as usual" if chip.measured >= _MEASURED else ""
    return [
        Link(f"{chip.solver}: {chip.name}", f"/chips/{chip.chip_id}"),
        f"{chip.graph_id}{'' if chip.current else ', not its newest'}",
        chip.qubits,
        chip.couplers,
        chip.measured,
        Mark(chip.alarm, "wrong") if chip.alarm else usual,
        chip.seen_at,
    ]


def _embedding(embedding: EmbeddingSummary) -> list[Cell]:
    number = str(embedding.embedding_id)
    return [
        Link(number, f"/embeddings/{number}.png") if embedding.tiles else number,
        embedding.name,
        f"{embedding.solver}: {embedding.chip}",
        f"{embedding.graph_id}{'' if embedding.current else ', not its newest'}",
        Mark(embedding.error, "wrong") if embedding.error else str(embedding.state),
        embedding.tiles,
        embedding.qubits,
        embedding.longest_chain,
        None if embedding.seconds is None else round(embedding.seconds, 2),
        embedding.problems,
    ]
