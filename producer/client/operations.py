"""What a client can ask of a server, written once: `AsyncClient` has it as it is, `Client` without await."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Unpack
from urllib.parse import quote

from .options import json_value, plain
from .readings import Readings
from .results import RunInfo

if TYPE_CHECKING:
    from .options import ChangeOptions, FilterOptions, RescoreOptions

_RUNS_PAGE = 100


class Operations(Readings):
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

    async def ask(self, /, method: str, path: str, *, is_idempotent: bool, **content: Any) -> Any:
        """Return the JSON of any other route: `ask("GET", "/v1/me", is_idempotent=True)`.

        Args:
            method: GET, POST ...
            path: below the address of the server.
            is_idempotent: whether the request may be carried out twice without harm, and so be repeated.
            content: params, json, data, files, headers, as httpx takes them.
        """
        return await self._json(method, path, is_idempotent=is_idempotent, **content)

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
