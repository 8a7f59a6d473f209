"""The classified images of a run as a file: CSV, JSON or Parquet."""

from __future__ import annotations

import tempfile
from importlib.util import find_spec
from pathlib import Path

from starlette.background import BackgroundTask
from starlette.responses import FileResponse, Response

from producer.dashboard.web.visit import Visit
from producer.reports import export
from producer.runs import queries, results
from schema.errors import NotFound, RequestRefused

_TYPES = {"csv": "text/csv", "json": "application/json", "parquet": "application/vnd.apache.parquet"}


def send(visit: Visit) -> Response:
    """Send the images of the run of ``visit`` that are classified so far."""
    number, suffix = visit.number("run"), visit.request.path_params["suffix"]
    if suffix not in _TYPES:
        raise NotFound(f"there is no format {suffix}: choose csv, json or parquet")
    if suffix == "parquet" and find_spec("pyarrow") is None:
        raise RequestRefused(
            "Parquet needs pyarrow, which the server does not have",
            406,
            "choose CSV, or let the operator `pip install 'annealq[parquet]'`",
        )
    with tempfile.NamedTemporaryFile(prefix="annealq-results-", suffix=f".{suffix}", delete=False) as file:
        path = Path(file.name)
    try:
        with visit.database.reading() as session:
            queries.run(session, number)
            names = queries.classes(session, number)
            rows = results.rows(session, number, names)
            export.write(rows, results.columns(names), path, export.guess_format(path))
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    done = BackgroundTask(path.unlink, missing_ok=True)
    return FileResponse(path, media_type=_TYPES[suffix], filename=f"run-{number}.{suffix}", background=done)
