"""A client of the HTTP API, for programs in Python.

    with Client("http://127.0.0.1:8000", key) as annealq:
        run = annealq.submit(images, network="digits", reads=100, idempotency_key="2026-11-25")
        annealq.wait(run)
        for image in annealq.results(run):
            print(image.index, image.predicted_class, image.scores)

A request that was not answered is sent again a few times, where that does no harm. A submission needs an
idempotency key for that: `submit` makes one where none is given.
"""

from __future__ import annotations

import io
import json
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import numpy as np
from numpy.typing import ArrayLike, NDArray

from schema.errors import AnnealqError, RequestRefused, Unavailable
from schema.states import FINISHED_RUNS, RunState

_TRIES = 5
_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 60.0
_SILENCE_S = 60.0  # four heartbeats of an event stream
_AGAIN = frozenset((429, 502, 503, 504))


@dataclass(frozen=True)
class RunProgress:
    """How far a run is: images sampled (scored ones included), scored, and in batches that have failed."""

    run_id: int
    state: RunState
    images: int
    sampled: int
    scored: int
    failed: int
    error: str | None


@dataclass(frozen=True)
class ImageResult:
    """What became of one image. scores: of each class in [0, 1], in the order of the network's classes."""

    index: int
    predicted: int | None
    predicted_class: str | None
    status: str
    scores: tuple[float, ...]
    margin: float
    label: int | None
    source: str | None


class Client:
    """Talks to one server; use it in one thread at a time.

    Every method raises RequestRefused with the server's words and ``status`` when it says no, and Unavailable
    when it cannot be reached, or has no time, after a few tries.
    """

    def __init__(
        self, url: str, key: str | None = None, *, timeout_s: float = 30.0, tries: int = _TRIES
    ) -> None:
        """Connects to nothing yet. key: an API key, where the server wants one."""
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout_s)
        self._tries = tries

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def submit(
        self,
        images: ArrayLike | Path,
        labels: Sequence[int] | NDArray[np.integer[Any]] | None = None,
        *,
        idempotency_key: str | None = None,
        window: str | Sequence[str] | None = None,
        tz: str | None = None,
        deadline: str | datetime | None = None,
        **options: Any,
    ) -> int:
        """Send images as a run; returns its number.

        images: (N, H, W), or a file of any format that the server reads. window: hours in which the run may
        work, "mon-fri 22:00-06:00", or several; deadline: "2026-12-01T06:00", "06:00" for the next one, or a
        time; tz: their time zone, "Europe/London", UTC by default. options: as in POST /v1/runs: network,
        solver, reads, priority, budget_s, webhook ...
        """
        key = idempotency_key or str(uuid.uuid4())
        until = deadline.isoformat() if isinstance(deadline, datetime) else deadline
        options |= {"tz": tz, "deadline": until}
        form: dict[str, Any] = {name: _text(value) for name, value in options.items() if value is not None}
        if window is not None:
            form["window"] = [window] if isinstance(window, str) else list(window)
        files = {"images": _file(images)}
        if labels is not None:
            files["labels"] = ("labels.npy", _npy(np.asarray(labels)))
        headers = {"Idempotency-Key": key}
        run: int = self._ask("POST", "/v1/runs", data=form, files=files, headers=headers)["run_id"]
        return run

    def run(self, run: int) -> dict[str, Any]:
        """What `annealq runs show RUN --json` prints."""
        return self._ask("GET", f"/v1/runs/{run}")

    def cancel(self, run: int) -> dict[str, Any]:
        """End a run: what it was charged, and what is still with its solver."""
        return self._ask("POST", f"/v1/runs/{run}/cancel", again=False)

    def pause(self, run: int) -> dict[str, Any]:
        """Let a run send no more, until it is resumed."""
        return self._ask("POST", f"/v1/runs/{run}/pause", again=False)

    def resume(self, run: int, *, budget_s: float | None = None, now: bool = False) -> dict[str, Any]:
        """Let a run go on; budget_s: a new budget; now: where its window is closed, open it at once."""
        asked = {"now": now} if budget_s is None else {"now": now, "budget_s": budget_s}
        return self._ask("POST", f"/v1/runs/{run}/resume", json=asked, again=False)

    def events(self, run: int) -> Iterator[RunProgress]:
        """How far a run is, at every change until its end; a broken connection is taken up again."""
        failures = 0
        while True:
            try:
                for progress in self._events(run):
                    failures = 0
                    yield progress
                    if progress.state in FINISHED_RUNS:
                        return
            except httpx.HTTPError as error:
                failures += 1
                if failures >= self._tries:
                    raise self._unreachable(error) from error
            time.sleep(_PAUSE_S)

    def wait(self, run: int) -> dict[str, Any]:
        """Block until a run is at its end; returns what `run` does.

        Raises:
            AnnealqError: it has failed, or was cancelled.
        """
        for progress in self.events(run):
            if progress.state in (RunState.FAILED, RunState.CANCELLED):
                raise AnnealqError(f"run {run} is {progress.state}: {progress.error or 'nobody said why'}")
        return self.run(run)

    def results(self, run: int) -> Iterator[ImageResult]:
        """The images of a run in order, as they become certain; blocks in between until there are more."""
        page: str | None = f"/v1/runs/{run}/results"
        while page is not None:
            found = self._ask("GET", page)
            yield from (_image(row) for row in found["results"])
            page = found["next"]
            if page is not None and not found["results"]:
                time.sleep(_PAUSE_S)

    def _events(self, run: int) -> Iterator[RunProgress]:
        timeout = httpx.Timeout(_SILENCE_S)
        with self._http.stream("GET", f"/v1/runs/{run}/events", timeout=timeout) as answer:
            if answer.status_code != httpx.codes.OK:
                answer.read()
                raise _refusal(answer)
            for line in answer.iter_lines():
                if line.startswith("data: "):
                    values = json.loads(line.removeprefix("data: "))
                    known = {field.name: values[field.name] for field in fields(RunProgress)}
                    yield RunProgress(**{**known, "state": RunState(values["state"])})

    def _ask(self, method: str, path: str, *, again: bool = True, **content: Any) -> dict[str, Any]:
        for attempt in range(1, self._tries + 1):
            is_last = attempt == self._tries
            try:
                answer = self._http.request(method, path, **content)
            except httpx.ConnectError as error:
                if is_last:
                    raise self._unreachable(error) from error
            except httpx.HTTPError as error:
                if is_last or not again:
                    raise self._unreachable(error) from error
            else:
                if answer.is_success:
                    found: dict[str, Any] = answer.json()
                    return found
                if answer.status_code not in _AGAIN or is_last:
                    raise _refusal(answer)
                time.sleep(_retry_after_s(answer))
                continue
            time.sleep(_PAUSE_S * 2 ** (attempt - 1))
        raise AssertionError("unreachable")

    def _unreachable(self, error: httpx.HTTPError) -> Unavailable:
        return Unavailable(
            f"no answer from {self._http.base_url} ({error}): is `annealq serve` running there?"
        )


def _refusal(answer: httpx.Response) -> RequestRefused:
    try:
        said = answer.json()
        message, way_out = str(said["message"]), str(said["way_out"])
    except (ValueError, KeyError, TypeError):
        message, way_out = f"{answer.request.url} answers {answer.status_code}", "is annealq there?"
    return RequestRefused(f"{message}: {way_out}", answer.status_code, way_out)


def _retry_after_s(answer: httpx.Response) -> float:
    """As long as the server says, if that is not too long to wait for."""
    said = answer.headers.get("Retry-After", "")
    wait_s = float(said) if said.isdecimal() else _PAUSE_S
    if wait_s > _LONGEST_PAUSE_S:
        raise _refusal(answer)
    return wait_s


def _file(images: ArrayLike | Path) -> tuple[str, bytes]:
    if isinstance(images, Path):
        return images.name, images.read_bytes()
    return "images.npy", _npy(np.asarray(images))


def _npy(array: NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _image(row: dict[str, Any]) -> ImageResult:
    return ImageResult(
        index=row["image"],
        predicted=row["predicted"],
        predicted_class=row["predicted_class"],
        status=row["status"],
        scores=tuple(row["scores"]),
        margin=row["margin"],
        label=row["label"],
        source=row["source"],
    )
