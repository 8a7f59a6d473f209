"""What a client can ask of a server, written once: `AsyncClient` has it as it is, `Client` without await."""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Unpack

from . import results
from .errors import ClientError, RunUnsuccessful
from .files import image_files, label_file
from .results import FINISHED, ImageResult, ResultArrays, RunInfo, RunProgress

if TYPE_CHECKING:
    import pandas as pd

    from .connection import Connection
    from .files import Images, Labels
    from .options import SubmitOptions

_PAGE = 1_000  # images of one request
_RUNS_PAGE = 100
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 5.0  # until more results are final
_FORMATS = {".csv": "text/csv", ".parquet": "application/vnd.apache.parquet"}


class Operations:
    """Requests to one server. A run is named by its number.

    Every method may raise RequestRejected, if the server refuses the request, and ServerUnavailable, if it
    does not answer for as long as the client is patient.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def submit(
        self,
        images: Images | None = None,
        labels: Labels | None = None,
        *,
        idempotency_key: str | None = None,
        **options: Unpack[SubmitOptions],
    ) -> int:
        """Send images as a run, and return its number.

        The request is repeated until it is answered; its key makes sure that there is one run.

        Args:
            images: an array (N, H, W); the path of a file in any format that the server reads, or of a folder
                with a subfolder of pictures for each class; the bytes of a file, or an open file; or a list
                of paths or bytes of pictures. Without them, ``uri`` names a file of the server.
            labels: (N,) numbers, one class for each image; or a file of them.
            idempotency_key: a second run with the same key and request is not created; random by default.
            options: as in POST /v1/runs: network, solver, reads, priority, budget_s, webhook ...

        Raises:
            UnusableImages: a file cannot be read, or the images are not numbers.
        """
        files = await self._connection.transport.call(lambda: _form_files(images, labels))
        form = {name: _text(value) for name, value in options.items() if value is not None}
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        # A form without files would be sent as another content type.
        content = {"files": files, "data": form} if files else {"json": _plain(options)}
        return int((await self._json("POST", "/v1/runs", headers=headers, **content))["run_id"])

    async def run(self, run: int) -> RunInfo:
        """Return what `annealq runs show RUN --json` prints about ``run``."""
        return RunInfo(await self._json("GET", f"/v1/runs/{run}"))

    async def runs(self, /, *, limit: int | None = None, **filters: Any) -> AsyncIterator[RunInfo]:
        """Yield runs, newest first.

        Args:
            limit: of the number of runs; None: all.
            filters: as in GET /v1/runs, for example state="running", or before=RUN for older runs. A list
                stands for a parameter that is given several times; None for one that is not given.
        """
        parameters: dict[str, Any] | None = _plain(filters) | {
            "limit": _RUNS_PAGE if limit is None else min(limit, _RUNS_PAGE)
        }
        page: str | None = "/v1/runs"
        left = limit
        while page is not None and left != 0:
            body = await self._json("GET", page, params=parameters)
            for run in body["runs"][:left]:
                yield RunInfo(run)
            left = None if left is None else max(left - len(body["runs"]), 0)
            page, parameters = body["next"], None  # the path of the next page has all parameters

    async def networks(self) -> list[dict[str, Any]]:
        """Return the networks, newest first."""
        found: list[dict[str, Any]] = (await self._json("GET", "/v1/networks"))["networks"]
        return found

    async def embeddings(self) -> list[dict[str, Any]]:
        """Return the stored embeddings, newest first."""
        found: list[dict[str, Any]] = (await self._json("GET", "/v1/embeddings"))["embeddings"]
        return found

    async def cancel(self, run: int) -> dict[str, Any]:
        """Cancel ``run``, and return its charges and the problems still in flight."""
        answer: dict[str, Any] = await self._json("POST", f"/v1/runs/{run}/cancel")
        return answer

    async def pause(self, run: int) -> dict[str, Any]:
        """Pause ``run`` until it is resumed."""
        answer: dict[str, Any] = await self._json("POST", f"/v1/runs/{run}/pause")
        return answer

    async def resume(
        self, run: int, *, budget_s: float | None = None, now: bool = False, qpu: str | None = None
    ) -> dict[str, Any]:
        """Resume ``run``, or repeat its failed batches.

        Args:
            budget_s: a new budget of QPU seconds for the whole run.
            now: whether to open the window of the run at once, if it waits for it.
            qpu: the QPUs that the run may use from now on.

        Raises:
            OutcomeUnknown: the connection broke after the request was sent: look at the run.
        """
        body = _plain({"budget_s": budget_s, "now": now, "qpu": qpu})
        path = f"/v1/runs/{run}/resume"
        answer: dict[str, Any] = await self._json("POST", path, json=body, is_idempotent=False)
        return answer

    async def events(self, run: int, *, after: str | None = None) -> AsyncIterator[RunProgress]:
        """Yield the progress of ``run`` at every change until it is finished; reconnect where necessary.

        Args:
            after: the `event_id` of the last progress that was seen, to resume after it.
        """
        async with aclosing(self._follow(run, after)) as following:
            async for progress in following:
                yield progress

    async def wait(self, run: int, *, timeout_s: float | None = None) -> RunInfo:
        """Return ``run`` once it is done, as `run` does.

        Args:
            timeout_s: seconds after which to stop waiting; None: never.

        Raises:
            RunUnsuccessful: it failed or was cancelled.
            TimeoutError: it is not finished after ``timeout_s`` seconds.
        """
        deadline = float("inf") if timeout_s is None else time.monotonic() + timeout_s
        await self._finish(run, deadline)
        found = await self.run(run)
        if found.state != "done":
            reason = found.get("error") or "no reason given"
            raise RunUnsuccessful(f"run {run} is {found.state}: {reason}", run, found.state)
        return found

    async def results(self, /, run: int, *, start: int = 0, **filters: Any) -> AsyncIterator[ImageResult]:
        """Yield the images of ``run`` in order, each as soon as its result is final.

        Args:
            start: index of the first image.
            filters: as in GET /v1/runs/RUN/results.
        """
        async with aclosing(self._pages(run, start, filters)) as pages:
            async for page in pages:
                for row in page["results"]:
                    yield results.image_result(row)

    async def result_arrays(self, /, run: int, **filters: Any) -> ResultArrays:
        """Return the images of ``run`` as arrays, once all are final; ``filters`` as in `results`."""
        images, classes = list[ImageResult](), list[str]()
        async with aclosing(self._pages(run, 0, filters)) as pages:
            async for page in pages:
                classes = page["classes"]
                images += map(results.image_result, page["results"])
        return await self._connection.transport.call(lambda: ResultArrays.of(images, classes))

    async def result_frame(self, /, run: int, **filters: Any) -> pd.DataFrame:
        """Return the images of ``run`` as a table, once all are final; ``filters`` as in `results`.

        Raises:
            MissingExtra: pandas is not installed.
        """
        results.data_frame([], [])  # whether it can be made, before the run is waited for
        rows, classes = list[Mapping[str, Any]](), list[str]()
        async with aclosing(self._pages(run, 0, filters)) as pages:
            async for page in pages:
                classes = page["classes"]
                rows += page["results"]
        return await self._connection.transport.call(lambda: results.data_frame(rows, classes))

    async def save_results(self, run: int, path: str | os.PathLike[str]) -> Path:
        """Write the images of ``run`` to a file once the run is finished, and return its path.

        Args:
            path: ends with .parquet or .csv. A file with this name is replaced when all is there.
        """
        target = Path(path).expanduser()
        if (accept := _FORMATS.get(target.suffix.lower())) is None:
            raise ClientError(f"{target}: unknown format: give a path that ends with {' or '.join(_FORMATS)}")
        await self._finish(run, float("inf"))
        with _replacing(target) as file:
            await self._connection.ask(
                "GET", f"/v1/runs/{run}/results", headers={"Accept": accept}, into=file
            )
        return target

    async def ask(self, /, method: str, path: str, *, is_idempotent: bool, **content: Any) -> Any:
        """Return the JSON of any other route: `ask("GET", "/v1/me", is_idempotent=True)`.

        Args:
            method: GET, POST ...
            path: below the address of the server.
            is_idempotent: whether the request may be carried out twice without harm, and so be repeated.
            content: params, json, data, files, headers, as httpx takes them.
        """
        return await self._json(method, path, is_idempotent=is_idempotent, **content)

    async def _json(self, method: str, path: str, **content: Any) -> Any:
        answer = await self._connection.ask(method, path, **content)
        return answer.json() if answer.content else None

    async def _finish(self, run: int, deadline: float) -> None:
        """Return once ``run`` is finished; raise TimeoutError at ``deadline``, by `time.monotonic`."""
        async with aclosing(self._follow(run, None, deadline)) as following:
            async for progress in following:
                if progress.state in FINISHED:
                    return
        if time.monotonic() >= deadline:
            raise TimeoutError(f"run {run} is not finished: wait longer, or look at why with run({run})")

    async def _follow(
        self, run: int, after: str | None, deadline: float = float("inf")
    ) -> AsyncGenerator[RunProgress, None]:
        last: RunProgress | None = None
        path = f"/v1/runs/{run}/events"
        async with aclosing(self._connection.events(path, after, deadline)) as events:
            async for event in events:
                progress = results.run_progress(json.loads(event.data), event.id)
                if progress != last:  # a server that has restarted begins with the present state
                    yield progress
                if progress.state in FINISHED:
                    return
                last = progress

    async def _pages(
        self, run: int, start: int, filters: Mapping[str, Any]
    ) -> AsyncGenerator[dict[str, Any], None]:
        page: str | None = f"/v1/runs/{run}/results"
        parameters: dict[str, Any] | None = {"cursor": start, "limit": _PAGE, **_plain(filters)}
        pause_s = _FIRST_PAUSE_S
        while page is not None:
            body = await self._json("GET", page, params=parameters)
            yield body
            page, parameters = body["next"], None
            pause_s = _FIRST_PAUSE_S if body["results"] else min(1.5 * pause_s, _LONGEST_PAUSE_S)
            if page is not None and not body["results"]:
                await self._connection.transport.sleep(pause_s)


def _form_files(images: Images | None, labels: Labels | None) -> list[tuple[str, tuple[str, bytes]]]:
    files = [] if images is None else [("images", file) for file in image_files(images)]
    return files if labels is None else [*files, ("labels", label_file(labels))]


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``values`` without None, and with times as text."""
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in values.items()
        if value is not None
    }


def _text(value: Any) -> str | list[str]:
    """Return ``value`` as a field of a form: text as it is, several texts as several fields, else JSON."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Sequence) and not isinstance(value, str) and all(isinstance(x, str) for x in value):
        return list(value)
    return value if isinstance(value, str) else json.dumps(value)


@contextmanager
def _replacing(target: Path) -> Iterator[BinaryIO]:
    """Yield a file that becomes ``target`` at the end of the block, unless there is an error."""
    partial = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with partial.open("wb") as file:
            yield file
        partial.replace(target)
    except OSError as error:
        raise ClientError(
            f"{target} cannot be written ({error.strerror or error}): give another path"
        ) from error
    finally:
        partial.unlink(missing_ok=True)
