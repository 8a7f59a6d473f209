"""A run as a file: its classified images as CSV, JSON or Parquet, or all that it rests on as a bundle."""

from __future__ import annotations

from collections.abc import Callable

from starlette.responses import Response

from producer.dashboard.web.drawing import LengthyAnswer
from producer.dashboard.web.transfers import MEDIA_TYPES, send_bundle, send_rows
from producer.dashboard.web.visit import Visit
from producer.runs import queries, results
from schema.errors import NotFound
from schema.settings import Settings


def send(visit: Visit) -> Response:
    """Send the images of the run of ``visit`` that are classified so far."""
    number, suffix = visit.number("run"), visit.request.path_params["suffix"]
    kind = next((known for known in MEDIA_TYPES if known == suffix), None)
    if kind is None:
        raise NotFound(f"there is no format {suffix}: choose {', '.join(MEDIA_TYPES)}")
    with visit.database.reading() as session:
        run = queries.run(session, number)
        names = queries.classes(session, number)
        rows = results.rows(session, number, names)
        return send_rows(
            rows, results.columns(names), kind, f"run-{number}", about=results.about(session, run)
        )


def bundle(settings: Settings) -> Callable[[Visit], LengthyAnswer]:
    """Return the view that sends a finished run as a bundle, without its images.

    ``settings`` name the database.
    """

    def send_it(visit: Visit) -> LengthyAnswer:
        number = visit.number("run")
        return LengthyAnswer(lambda: send_bundle(settings, visit.database, number, images=False))

    return send_it
