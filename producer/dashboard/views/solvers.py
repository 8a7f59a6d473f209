"""The solvers with qubits: their problems, charges, chips and embeddings."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from producer.dashboard.report import run_report
from producer.dashboard.views import overview
from producer.dashboard.web.visit import Visit
from producer.embeddings import chips
from producer.embeddings import queries as embeddings_queries


def show(visit: Visit) -> Response:
    """Show the solvers with qubits, their open problems and embeddings, for ``visit``."""
    with visit.database.reading() as session:
        values: dict[str, Any] = {
            "solvers": overview.solver_rows(session, visit.database.now(session)),
            "embeddings": embeddings_queries.summaries(session),
            "deprecations": chips.deprecations(session),
            "chips": chips.summaries(session),
        }
    return visit.render("solvers.html.j2", title="Solvers", **values)


def embedding_png(visit: Visit) -> Response:
    """Send a drawing of the embedding of ``visit`` on its chip."""
    with visit.database.reading() as session:
        summary = embeddings_queries.embedding(session, visit.number("embedding"))
        drawing, _ = run_report.chip_png(session, summary)
    return Response(drawing, media_type="image/png", headers={"Cache-Control": "private, max-age=3600"})
