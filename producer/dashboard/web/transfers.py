"""Forms with files that are sent, and results and bundles that are sent back as a file."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from starlette.background import BackgroundTask
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import FileResponse

from producer.files import temporary
from producer.proof import bundle
from producer.reports import export
from schema.database import Database
from schema.errors import RequestRefused
from schema.settings import Settings

MEDIA_TYPES: Mapping[export.Format, str] = {
    "csv": "text/csv",
    "json": "application/json",
    "parquet": "application/vnd.apache.parquet",
}

BUNDLE_TYPE = "application/zip"


@asynccontextmanager
async def read_form(request: Request, **limits: int) -> AsyncIterator[FormData]:
    """Yield the form of ``request``, whose files are deleted after the block.

    Args:
        limits: as `Request.form` has them.

    Raises:
        DiskFull: no space is left for its files.
    """
    with temporary():
        form = await request.form(**limits)
    try:
        yield form
    finally:
        await form.close()


def send_rows(
    rows: Iterable[Mapping[str, object]],
    columns: Mapping[str, type],
    kind: export.Format,
    name: str,
    *,
    about: Mapping[str, Any],
    headers: Mapping[str, str] | None = None,
) -> FileResponse:
    """Return a response with ``rows`` as a file of ``kind``, called ``name`` and its suffix.

    Args:
        columns, about: as for `export.write`.
        headers: of the response.

    Raises:
        RequestRefused: 406, the server cannot write Parquet.
        DiskFull: no space is left for the file.
    """
    if kind == "parquet" and find_spec("pyarrow") is None:
        raise RequestRefused(
            "Parquet needs pyarrow, which the server does not have",
            406,
            "ask for CSV, or let the operator `pip install 'annealq[parquet]'`",
        )
    path = export.write_temporary(rows, columns, kind, about)
    return FileResponse(
        path,
        media_type=MEDIA_TYPES[kind],
        filename=f"{name}.{kind}",
        headers=headers,
        background=BackgroundTask(path.unlink, missing_ok=True),
    )


def send_bundle(settings: Settings, database: Database, run: int, *, images: bool) -> FileResponse:
    """Return a response with the finished ``run`` of ``database``, which ``settings`` name, as a bundle.

    Args:
        images: whether it has the images.

    Raises:
        InputError: the run is not finished, or cannot be proven here.
        DiskFull: no space is left for the file.
    """
    with database.reading() as session:
        bundle.check(session, run)
    with temporary():
        descriptor, name = tempfile.mkstemp(prefix="annealq-bundle-", suffix=".zip")
        os.close(descriptor)
    path = Path(name)
    try:
        bundle.write(settings, run, path, lambda _name, _size: lambda _done: None, images=images)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return FileResponse(
        path,
        media_type=BUNDLE_TYPE,
        filename=f"run-{run}.zip",
        background=BackgroundTask(path.unlink, missing_ok=True),
    )
