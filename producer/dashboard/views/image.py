"""One image of a run: its pixels, scores and the energies of its reads."""

from __future__ import annotations

from sqlalchemy.orm import Session
from starlette.responses import Response

from producer.dashboard.charts import energy_histograms
from producer.dashboard.report import content, run_facts, run_report
from producer.dashboard.web import rendering
from producer.dashboard.web.renderings import Drawing, digest
from producer.dashboard.web.visit import Visit
from producer.runs import queries
from schema.errors import NotFound
from schema.tables import Classification


def show(visit: Visit) -> Response:
    """Show the image of ``visit``, its scores and the energies of its reads."""
    number = visit.number("run")
    with visit.database.reading() as session:
        run = queries.run(session, number)
        names = queries.classes(session, number)
        result = _classified(session, number, visit.number("image"))
        image = run_facts.images(session, number, [result], len(names))[0]
    return visit.render(
        "image.html.j2",
        run=run,
        image=run_report.image_values(image, names),
        about=_about(result),
        here=f"{visit.root}/runs/{number}",
    )


def energies(visit: Visit) -> Drawing:
    """Send the energy histogram of the image of ``visit``."""
    number, image = visit.number("run"), visit.number("image")
    with visit.database.reading() as session:
        result = _classified(session, number, image)
        names = queries.classes(session, number)
        decides = content.of_energies(session, number, image)

    def draw() -> bytes:
        histogram = energy_histograms.of_image(number, image)
        chart = energy_histograms.chart(histogram, result.predicted, names, large=True)
        return rendering.environment().get_template("energies.svg.j2").render(c=chart).encode()

    headers = {"Cache-Control": "private, max-age=3600"}
    return Drawing(
        number, f"energies/{image}", digest(result, names, decides), "image/svg+xml", draw, headers
    )


def _about(result: queries.Classified) -> list[tuple[str, str]]:
    rows = []
    if result.probability is not None:
        rows.append(("probability", f"{result.probability:.4f}"))
    if result.energy_gap is not None:
        rows.append(("energy gap", f"{result.energy_gap:.4f}"))
    rows += [
        ("margin", f"{result.margin:.4f}"),
        ("reads with one class", f"{result.one_hot_fraction:.1%}"),
        ("lowest energy", f"{result.lowest_energy:.4f}"),
    ]
    if result.chain_break_fraction is not None:
        rows.append(("broken chains", f"{result.chain_break_fraction:.2%}"))
    return rows


def _classified(session: Session, run: int, image: int) -> queries.Classified:
    results = run_facts.classified(session, run, 1, Classification.image == image)
    if not results:
        queries.run(session, run)
        raise NotFound(f"run {run} has no image {image} that is scored")
    return results[0]
