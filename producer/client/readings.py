"""Reads runs: their progress, results as they become final, and files."""

from __future__ import annotations

import json
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack

from . import results
from .errors import ClientError, RunUnsuccessful
from .files import replacing
from .options import plain
from .results import FINISHED, ImageResult, ResultArrays, RunInfo, RunProgress
from .submissions import Submissions

if TYPE_CHECKING:
    import pandas as pd

    from .options import ResultOptions

_PAGE = 1_000  # images of one request
_ACCEPTED = 202  # status of what is still computed
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 5.0  # until more results are final
_FORMATS = {".csv": "text/csv", ".parquet": "application/vnd.apache.parquet"}
_DATASETS = {"fiftyone": ".zip", "labelstudio": ".zip", "huggingface": ".parquet"}  # suffixes


class Readings(Submissions):
    """Requests that follow runs and read their results."""

    async def run(self, run: int) -> RunInfo:
        """Return what `annealq runs show RUN --json` prints about ``run``."""
        return RunInfo(await self._json("GET", f"/v1/runs/{run}"))

    async def events(
        self, run: int | Sequence[int] | None = None, *, after: str | None = None
    ) -> AsyncIterator[RunProgress]:
        """Yield the progress of runs at every change until they are finished; reconnect where necessary.

        Args:
            run: number of a run, or of several; None: of all unfinished runs, new ones included, without end.
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

    async def results(
        self, /, run: int, *, start: int = 0, **filters: Unpack[ResultOptions]
    ) -> AsyncIterator[ImageResult]:
        """Yield the images of ``run`` in order, each as soon as its result is final.

        With ``provisional=True`` it yields those that have a result now; later rounds of reads may change it.

        Args:
            start: index of the first image.
            filters: as in GET /v1/runs/RUN/results.
        """
        async with aclosing(self._pages(run, start, filters)) as pages:
            async for page in pages:
                for row in page["results"]:
                    yield results.image_result(row, provisional=page["provisional"])

    async def result_arrays(self, /, run: int, **filters: Unpack[ResultOptions]) -> ResultArrays:
        """Return the images of ``run`` as arrays, once all are final; ``filters`` as in `results`."""
        images, classes = list[ImageResult](), list[str]()
        async with aclosing(self._pages(run, 0, filters)) as pages:
            async for page in pages:
                classes = page["classes"]
                images += map(results.image_result, page["results"])
        return await self._connection.transport.call(lambda: ResultArrays.of(images, classes))

    async def result_frame(self, /, run: int, **filters: Unpack[ResultOptions]) -> pd.DataFrame:
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

    async def save_results(
        self, /, run: int, path: str | os.PathLike[str], **filters: Unpack[ResultOptions]
    ) -> Path:
        """Write the images of ``run`` to a file once the run is finished, and return its path.

        Args:
            path: ends with .parquet or .csv. A file with this name is replaced when all is there.
            filters: as in `results`.
        """
        target = Path(path).expanduser()
        if (accept := _FORMATS.get(target.suffix.lower())) is None:
            raise ClientError(f"{target}: unknown format: give a path that ends with {' or '.join(_FORMATS)}")
        headers = {"Accept": accept}
        return await self._save(run, "results", target, params=plain(filters), headers=headers)

    async def sample_set(
        self,
        run: int,
        *,
        image: int | None = None,
        problem: int | None = None,
        physical: bool = False,
        round: int | None = None,  # noqa: A002 - as the API names it
        timeout_s: float | None = None,
    ) -> dict[str, Any]:
        """Return the reads of an image or a problem for D-Wave's Ocean, once a worker has computed it.

        `dimod.SampleSet.from_serializable` reads it.

        Args:
            image: its index within ``run``; or
            problem: the number of a problem of the run.
            physical: qubits, h and J as they were on the chip, instead of units.
            round: only this round of the image's reads.
            timeout_s: seconds after which to stop waiting; None: never.

        Raises:
            TimeoutError: it is not there after ``timeout_s`` seconds.
        """
        deadline = time.monotonic() + (float("inf") if timeout_s is None else timeout_s)
        wanted = plain({"image": image, "problem": problem, "physical": physical, "round": round})
        while True:
            response = await self._connection.ask("GET", f"/v1/runs/{run}/sample-set", params=wanted)
            body: dict[str, Any] = response.json()
            if response.status_code != _ACCEPTED:
                return body
            pause_s = float(response.headers["Retry-After"])
            if time.monotonic() + pause_s > deadline:
                why = "a worker computes it" if body["has_worker"] else "no worker is alive"
                raise TimeoutError(f"the sample set of run {run} is not there yet: {why}; wait longer")
            await self._connection.transport.sleep(pause_s)

    async def save_bundle(self, /, run: int, path: str | os.PathLike[str], *, images: bool = False) -> Path:
        """Write ``run`` as a bundle, for `annealq verify`, once it is finished, and return its path.

        Args:
            path: a file with this name is replaced when all is there.
            images: also the images, not only their SHA-256.
        """
        params = {"images": str(images).lower()}
        return await self._save(run, "bundle", Path(path).expanduser(), params=params)

    async def save_dataset(
        self,
        /,
        run: int,
        path: str | os.PathLike[str],
        *,
        format: Literal["fiftyone", "labelstudio", "huggingface"],  # noqa: A002 - as the API names it
        **filters: Unpack[ResultOptions],
    ) -> Path:
        """Write the images of ``run`` with their results for another tool, and return the path.

        It waits until the run is finished.

        Args:
            path: ends with .zip, or with .parquet for huggingface. A file with this name is replaced when all
                is there.
            format: fiftyone, labelstudio (tasks.json and tasks.xml) or huggingface.
            filters: as in `results`.
        """
        target, suffix = Path(path).expanduser(), _DATASETS.get(format)
        if suffix is None:
            raise ClientError(f"unknown format {format!r}: choose one of {', '.join(_DATASETS)}")
        if target.suffix.lower() != suffix:
            raise ClientError(f"{target}: {format} is one file: give a path that ends with {suffix}")
        return await self._save(run, "dataset", target, params=plain(filters) | {"format": format})

    async def _save(self, run: int, what: str, target: Path, **request: Any) -> Path:
        await self._finish(run, float("inf"))
        with replacing(target) as file:
            await self._connection.ask("GET", f"/v1/runs/{run}/{what}", into=file, **request)
        return target

    async def _finish(self, run: int, deadline: float) -> None:
        """Return once ``run`` is finished; raise TimeoutError at ``deadline``, by `time.monotonic`."""
        async with aclosing(self._follow(run, None, deadline)) as following:
            async for progress in following:
                if progress.state in FINISHED:
                    return
        if time.monotonic() >= deadline:
            raise TimeoutError(f"run {run} is not finished: wait longer, or look at why with run({run})")

    async def _follow(
        self, run: int | Sequence[int] | None, after: str | None, deadline: float = float("inf")
    ) -> AsyncGenerator[RunProgress, None]:
        path, left = _followed(run)
        if left is not None and not left:
            return
        seen: dict[int, RunProgress] = {}
        async with aclosing(self._connection.events(path, after, deadline)) as events:
            async for event in events:
                progress = results.run_progress(json.loads(event.data), event.id)
                if progress != seen.get(progress.run_id):  # a server that restarted begins with the present
                    seen[progress.run_id] = progress
                    yield progress
                if left is not None and progress.state in FINISHED:
                    left.discard(progress.run_id)
                    if not left:
                        return

    async def _pages(
        self, run: int, start: int, filters: Mapping[str, Any]
    ) -> AsyncGenerator[dict[str, Any], None]:
        page: str | None = f"/v1/runs/{run}/results"
        parameters: dict[str, Any] | None = {"cursor": start, "limit": _PAGE, **plain(filters)}
        pause_s = _FIRST_PAUSE_S
        while page is not None:
            body = await self._json("GET", page, params=parameters)
            yield body
            if filters.get("provisional") and not body["results"]:
                return
            page, parameters = body["next"], None
            pause_s = _FIRST_PAUSE_S if body["results"] else min(1.5 * pause_s, _LONGEST_PAUSE_S)
            if page is not None and not body["results"]:
                await self._connection.transport.sleep(pause_s)


def _followed(run: int | Sequence[int] | None) -> tuple[str, set[int] | None]:
    """Return the path of the events of a run, of several, or of all; and the runs, unless it is all."""
    if run is None:
        return "/v1/events", None
    if isinstance(run, int):
        return f"/v1/runs/{run}/events", {run}
    return "/v1/events?" + "&".join(f"run={one}" for one in run), set(run)
