"""A client of the HTTP API, for programs in Python.

    with Client("http://127.0.0.1:8000", key) as annealq:
        run = annealq.submit(images, network="digits", reads=100, idempotency_key="2026-11-25")
        annealq.wait(run)
        for image in annealq.results(run):
            print(image.index, image.predicted_class, image.scores)

Requests without an answer are repeated a few times if that is safe. `submit` always sends an idempotency key,
so that it can be repeated.
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
_RETRIED = frozenset((429, 502, 503, 504))


@dataclass(frozen=True)
class RunProgress:
    """Images of a run that are sampled (including scored ones), scored, or in failed batches."""

    run_id: int
    state: RunState
    images: int
    sampled: int
    scored: int
    failed: int
    error: str | None


@dataclass(frozen=True)
class ImageResult:
    """A classified image. ``scores`` has one score in [0, 1] for each class, in the network's order."""

    index: int
    predicted: int | None
    predicted_class: str | None
    status: str
    scores: tuple[float, ...]
    margin: float
    energy_gap: float | None
    probability: float | None
    label: int | None
    source: str | None


class Client:
    """Client of one server, for use by one thread at a time.

    Every method raises RequestRefused, with the server's message and status, if the server refuses the
    request, and Unavailable if it does not answer after a few tries.
    """

    def __init__(
        self, url: str, key: str | None = None, *, timeout_s: float = 30.0, tries: int = _TRIES
    ) -> None:
        """Prepare requests to the server at ``url``, with an API ``key`` if it needs one, without connecting.

        Each request has ``timeout_s`` seconds and a number of ``tries``.
        """
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
        """Send images as a run, and return its number.

        Args:
            images: (N, H, W), or a file in any format that the server reads.
            labels: (N,), one class for each image.
            idempotency_key: a second run with the same key and content is not created; random by default.
            window: hours in which the run may work, "mon-fri 22:00-06:00", or several.
            tz: time zone of window and deadline, "Europe/London"; UTC by default.
            deadline: "2026-12-01T06:00", "06:00" for the next one, or a time.
            options: as in POST /v1/runs: network, solver, reads, priority, budget_s, webhook ...
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
        number: int = self._ask("POST", "/v1/runs", data=form, files=files, headers=headers)["run_id"]
        return number

    def run(self, run: int) -> dict[str, Any]:
        """Return what `annealq runs show RUN --json` prints about ``run``."""
        return self._ask("GET", f"/v1/runs/{run}")

    def cancel(self, run: int) -> dict[str, Any]:
        """Cancel ``run``, and return its charges and the problems still in flight."""
        return self._ask("POST", f"/v1/runs/{run}/cancel", is_safe=False)

    def pause(self, run: int) -> dict[str, Any]:
        """Pause ``run`` until it is resumed."""
        return self._ask("POST", f"/v1/runs/{run}/pause", is_safe=False)

    def resume(self, run: int, *, budget_s: float | None = None, now: bool = False) -> dict[str, Any]:
        """Resume ``run``, with a new budget of ``budget_s`` seconds; ``now`` opens its closed window."""
        body = {"now": now} if budget_s is None else {"now": now, "budget_s": budget_s}
        return self._ask("POST", f"/v1/runs/{run}/resume", json=body, is_safe=False)

    def events(self, run: int) -> Iterator[RunProgress]:
        """Yield the progress of ``run`` at every change until it ends; reconnect if necessary."""
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
        """Block until ``run`` is done, and return the same as `Client.run`.

        Raises:
            AnnealqError: it failed or was cancelled.
        """
        for progress in self.events(run):
            if progress.state in (RunState.FAILED, RunState.CANCELLED):
                raise AnnealqError(f"run {run} is {progress.state}: {progress.error or 'no reason given'}")
        return self.run(run)

    def results(self, run: int) -> Iterator[ImageResult]:
        """Yield the images of ``run`` in order; block until more of them are final."""
        page: str | None = f"/v1/runs/{run}/results"
        while page is not None:
            body = self._ask("GET", page)
            yield from (_image(row) for row in body["results"])
            page = body["next"]
            if page is not None and not body["results"]:
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
                    values = {field.name: values[field.name] for field in fields(RunProgress)}
                    yield RunProgress(**{**values, "state": RunState(values["state"])})

    def _ask(self, method: str, path: str, *, is_safe: bool = True, **content: Any) -> dict[str, Any]:
        for attempt in range(1, self._tries + 1):
            is_last = attempt == self._tries
            try:
                answer = self._http.request(method, path, **content)
            except httpx.ConnectError as error:
                if is_last:
                    raise self._unreachable(error) from error
            except httpx.HTTPError as error:
                if is_last or not is_safe:
                    raise self._unreachable(error) from error
            else:
                if answer.is_success:
                    body: dict[str, Any] = answer.json()
                    return body
                if answer.status_code not in _RETRIED or is_last:
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
        body = answer.json()
        # Servers of version 0.1 called `detail` `message`, and `hint` `way_out`.
        hint = str(body["hint"] if "hint" in body else body["way_out"])
        message = str(body["detail"] if "detail" in body else body["message"])
    except (ValueError, KeyError, TypeError):
        message, hint = f"{answer.request.url} answers {answer.status_code}", "is it an annealq server?"
    return RequestRefused(f"{message}: {hint}", answer.status_code, hint)


def _retry_after_s(answer: httpx.Response) -> float:
    """Return the server's Retry-After; raise RequestRefused if it is longer than a minute."""
    retry_after = answer.headers.get("Retry-After", "")
    wait_s = float(retry_after) if retry_after.isdecimal() else _PAUSE_S
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
    values = {field.name: row[field.name] for field in fields(ImageResult) if field.name != "index"}
    return ImageResult(index=row["image"], **{**values, "scores": tuple(row["scores"])})
