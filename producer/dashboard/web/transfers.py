"""Forms with files that are sent, and results, data sets and bundles that are sent back as a file."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from starlette.background import BackgroundTask
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import FileResponse

from producer.exports.exported_run import ExportedRun
from producer.exports.formats import DatasetFormat, write_dataset
from producer.files import new_temporary, temporary
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

DATASET_TYPES: Mapping[str, str] = {".zip": "application/zip", ".parquet": MEDIA_TYPES["parquet"]}
"""The media type of a data set by the suffix of its file."""


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
    if kind == "parquet":
        _require_parquet("CSV")
    path = export.write_temporary(rows, columns, kind, about)
    return _response(path, MEDIA_TYPES[kind], f"{name}.{kind}", headers)


def send_dataset(
    run: ExportedRun, form: DatasetFormat, *, headers: Mapping[str, str] | None = None
) -> FileResponse:
    """Return a response with ``run`` as a data set: one file of ``form``.

    Args:
        headers: of the response.

    Raises:
        RequestRefused: 406, the server cannot write Parquet.
        ParameterError: the tool cannot show vectors.
        DiskFull: no space is left for the file.
        Corrupt: an image is damaged.
    """
    suffix = ".parquet" if form is DatasetFormat.HUGGINGFACE else ".zip"
    if form is DatasetFormat.HUGGINGFACE:
        _require_parquet("another format")
    with new_temporary(suffix) as path:
        write_dataset(run, form, path)
        return _response(path, DATASET_TYPES[suffix], f"run-{run.run_id}-{form}{suffix}", headers)


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
    with new_temporary(".zip") as path:
        bundle.write(settings, run, path, lambda _name, _size: lambda _done: None, images=images)
        return _response(path, BUNDLE_TYPE, f"run-{run}.zip")


def _require_parquet(instead: str) -> None:
    if find_spec("pyarrow") is None:
        raise RequestRefused(
            "Parquet needs pyarrow, which the server does not have",
            406,
            f"ask for {instead}, or let the operator `pip install 'annealq[parquet]'`",
        )


def _response(
    path: Path, media_type: str, name: str, headers: Mapping[str, str] | None = None
) -> FileResponse:
    """Return a response with the file ``path``, which is deleted once it is sent, called ``name``."""
    return FileResponse(
        path,
        media_type=media_type,
        filename=name,
        headers=headers,
        background=BackgroundTask(path.unlink, missing_ok=True),
    )
