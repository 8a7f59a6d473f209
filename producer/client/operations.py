"""What a client can ask of a server, written once: `AsyncClient` has it as it is, `Client` without await."""

from __future__ import annotations

import json
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack
from urllib.parse import quote

from . import results
from .errors import ClientError, RunUnsuccessful
from .files import replacing
from .options import json_value, plain
from .results import FINISHED, ImageResult, ResultArrays, RunInfo, RunProgress
from .submissions import Submissions

if TYPE_CHECKING:
    import pandas as pd

    from .options import ChangeOptions, FilterOptions, RescoreOptions, ResultOptions

_PAGE = 1_000  # images of one request
_RUNS_PAGE = 100
_ACCEPTED = 202  # status of what is still computed
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 5.0  # until more results are final
_FORMATS = {".csv": "text/csv", ".parquet": "application/vnd.apache.parquet"}


class Operations(Submissions):
    """Requests to one server. A run is named by its number.

    Every method may raise RequestRejected, if the server refuses the request, and ServerUnavailable, if it
    does not answer for as long as the client is patient.
    """

    async def calibration(self, calibration: int) -> dict[str, Any]:
        """Return a calibration: its `state`, and its `parameters` once that is "ready"."""
        return await self._object("GET", f"/v1/calibrations/{calibration}")

    async def calibrations(
        self, *, network: str | None = None, limit: int | None = None
    ) -> AsyncIterator[dict[str, Any]]:
        """Yield calibrations, newest first.

        Args:
            network: only those of this network, NAME or NAME@VERSION.
            limit: of the number of calibrations; None: all.
        """
        path, parameters = "/v1/calibrations", plain({"network": network})
        async with aclosing(self._listed(path, "calibrations", limit, parameters)) as rows:
            async for row in rows:
                yield row

    async def run(self, run: int) -> RunInfo:
        """Return what `annealq runs show RUN --json` prints about ``run``."""
        return RunInfo(await self._json("GET", f"/v1/runs/{run}"))

    async def runs(
        self, /, *, limit: int | None = None, **filters: Unpack[FilterOptions]
    ) -> AsyncIterator[RunInfo]:
        """Yield runs, newest first.

        Args:
            limit: of the number of runs; None: all.
            filters: as in GET /v1/runs, for example state="running"; None is as if it were not given.
        """
        parameters = plain(filters) | {"limit": _RUNS_PAGE if limit is None else min(limit, _RUNS_PAGE)}
        async with aclosing(self._listed("/v1/runs", "runs", limit, parameters)) as rows:
            async for row in rows:
                yield RunInfo(row)

    async def networks(self) -> list[dict[str, Any]]:
        """Return the networks, newest first."""
        found: list[dict[str, Any]] = (await self._json("GET", "/v1/networks"))["networks"]
        return found

    async def embeddings(self) -> list[dict[str, Any]]:
        """Return the stored embeddings, newest first."""
        found: list[dict[str, Any]] = (await self._json("GET", "/v1/embeddings"))["embeddings"]
        return found

    async def network(self, name: str) -> dict[str, Any]:
        """Return the network NAME or NAME@VERSION, and which images it takes."""
        return await self._object("GET", f"/v1/networks/{quote(name, safe='@')}")

    async def me(self) -> dict[str, Any]:
        """Return the owner of the key, its scope, its limits, and what is left of them today."""
        return await self._object("GET", "/v1/me")

    async def change(self, run: int, **changes: Unpack[ChangeOptions]) -> RunInfo:
        """Change name, tags, priority, budget, window or deadline of ``run``, and return it.

        Args:
            changes: what is left out stays; None removes a budget, a window or a deadline.
        """
        body = {name: json_value(value) for name, value in changes.items()}
        return RunInfo(await self._json("PATCH", f"/v1/runs/{run}", json=body))

    async def delete(self, run: int, *, with_charges: bool = False) -> None:
        """Delete a finished ``run`` with its images, reads and scores.

        Args:
            with_charges: also if it was charged QPU time, which budgets count.

        Raises:
            OutcomeUnknown: the connection broke after the request was sent.
        """
        parameters = {"with_charges": with_charges}
        await self._json("DELETE", f"/v1/runs/{run}", params=parameters, is_idempotent=False)

    async def rescore(self, run: int, **changes: Unpack[RescoreOptions]) -> int:
        """Score the stored reads of a finished ``run`` again, as a new run, and return its number.

        Raises:
            OutcomeUnknown: the connection broke after the request was sent: look for the new run.
        """
        path = f"/v1/runs/{run}/rescore"
        return int((await self._json("POST", path, json=plain(changes), is_idempotent=False))["run_id"])

    async def deliveries(
        self, run: int | None = None, *, limit: int | None = None, state: str | None = None
    ) -> AsyncIterator[dict[str, Any]]:
        """Yield messages to webhooks, newest first.

        Args:
            run: only those about this run.
            limit: of the number of messages; None: all.
            state: pending, sending, delivered or failed.
        """
        path = "/v1/deliveries" if run is None else f"/v1/runs/{run}/deliveries"
        async with aclosing(self._listed(path, "deliveries", limit, plain({"state": state}))) as rows:
            async for row in rows:
                yield row

    async def delivery(self, delivery: int) -> dict[str, Any]:
        """Return a message to a webhook, with its body and every attempt to send it."""
        return await self._object("GET", f"/v1/deliveries/{delivery}")

    async def redeliver(self, delivery: int) -> dict[str, Any]:
        """Send a message to a webhook again.

        Raises:
            OutcomeUnknown: the connection broke after the request was sent.
        """
        return await self._object("POST", f"/v1/deliveries/{delivery}/redeliver", is_idempotent=False)

    async def check_webhook(self, url: str | None = None) -> dict[str, Any]:
        """Send a test message to a webhook; `delivery` then shows the receiver's answer.

        Args:
            url: of the receiver; default: that of the owner of the key.

        Raises:
            OutcomeUnknown: the connection broke after the request was sent.
        """
        body = plain({"url": url})
        return await self._object("POST", "/v1/webhooks/test", json=body, is_idempotent=False)

    async def cancel(self, run: int) -> dict[str, Any]:
        """Cancel ``run``, and return its charges and the problems still in flight."""
        return await self._object("POST", f"/v1/runs/{run}/cancel")

    async def pause(self, run: int) -> dict[str, Any]:
        """Pause ``run`` until it is resumed."""
        return await self._object("POST", f"/v1/runs/{run}/pause")

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
        body = plain({"budget_s": budget_s, "now": now, "qpu": qpu})
        return await self._object("POST", f"/v1/runs/{run}/resume", json=body, is_idempotent=False)

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

    async def ask(self, /, method: str, path: str, *, is_idempotent: bool, **content: Any) -> Any:
        """Return the JSON of any other route: `ask("GET", "/v1/me", is_idempotent=True)`.

        Args:
            method: GET, POST ...
            path: below the address of the server.
            is_idempotent: whether the request may be carried out twice without harm, and so be repeated.
            content: params, json, data, files, headers, as httpx takes them.
        """
        return await self._json(method, path, is_idempotent=is_idempotent, **content)

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

    async def _listed(
        self, path: str, name: str, limit: int | None, parameters: dict[str, Any] | None
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Yield what the pages from ``path`` list as ``name``, up to a ``limit``."""
        page: str | None = path
        left = limit
        while page is not None and left != 0:
            body = await self._json("GET", page, params=parameters)
            for row in body[name][:left]:
                yield row
            left = None if left is None else max(left - len(body[name]), 0)
            page, parameters = body["next"], None  # the path of the next page has all parameters

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
