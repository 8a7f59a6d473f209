"""Brings messages to webhooks, beside the requests, as long as `annealq serve` runs."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from datetime import datetime

import httpx
from starlette.concurrency import run_in_threadpool

from producer.webhooks import deliveries
from producer.webhooks.addresses import check_url, resolve
from producer.webhooks.deliveries import Attempt, DeliveryResult
from schema.database import Database
from schema.errors import ParameterError, StorageError

_ALL_S = 600.0
_EVERY_S = 0.5
_AWAY_S = 5.0  # while the database does not answer
_AT_ONCE = 8
_CONNECT_S = 5.0
_ANSWER_S = 15.0  # for a whole attempt, far below the lease
_LOG = logging.getLogger("annealq.api")


class Courier:
    """A task of the event loop. Several processes may run one each: a message is leased."""

    def __init__(self, database: Database, *, allow_private: bool) -> None:
        self._database, self._allow_private = database, allow_private
        self._under_way: set[asyncio.Task[None]] = set()
        self._since: datetime | None = None  # what ended before was looked at
        self._all_at = float("-inf")

    async def run(self) -> None:
        """Deliver until it is cancelled; what is under way then is tried again when its lease runs out."""
        async with self.client() as http:
            while True:
                await asyncio.sleep(await self.start_due(http))

    def client(self) -> httpx.AsyncClient:
        """What messages are sent with. Not through a proxy: it would resolve names by itself."""
        return httpx.AsyncClient(trust_env=False, verify=ssl.create_default_context())

    async def settle(self) -> None:
        """Wait for what is under way."""
        await asyncio.gather(*self._under_way)

    async def start_due(self, http: httpx.AsyncClient) -> float:
        """Start what is due; returns seconds until it is worth while again."""
        try:
            await self._note_ends()
            while len(self._under_way) < _AT_ONCE:
                attempt = await run_in_threadpool(deliveries.claim, self._database)
                if attempt is None:
                    break
                task = asyncio.create_task(self._deliver(http, attempt))
                self._under_way.add(task)
                task.add_done_callback(self._under_way.discard)
        except StorageError as error:
            _LOG.warning("webhooks wait: %s", error)
            return _AWAY_S
        return _EVERY_S

    async def _note_ends(self) -> None:
        """Look at what has ended lately; now and then at all, for clocks may have been set back."""
        if time.monotonic() > self._all_at:
            self._since, self._all_at = None, time.monotonic() + _ALL_S
        self._since = await run_in_threadpool(deliveries.note_ends, self._database, self._since)

    async def _deliver(self, http: httpx.AsyncClient, attempt: Attempt) -> None:
        outcome = await self._post(http, attempt)
        if outcome.error is not None:
            _LOG.warning("webhook %s, attempt %d: %s", attempt.event_id, attempt.number, outcome.error)
        try:
            await run_in_threadpool(deliveries.keep, self._database, attempt, outcome)
        except StorageError as error:
            _LOG.warning("webhook %s will come again: %s", attempt.event_id, error)

    async def _post(self, http: httpx.AsyncClient, attempt: Attempt) -> DeliveryResult:
        try:
            async with asyncio.timeout(_ANSWER_S):
                status = await self._ask(http, attempt)
        except ParameterError as error:
            return DeliveryResult(str(error), is_final=True)
        except (httpx.HTTPError, OSError, TimeoutError) as error:
            return DeliveryResult(f"not delivered: {type(error).__name__} {error}".strip()[:500])
        if 200 <= status < 300:
            return DeliveryResult()
        if status == httpx.codes.GONE:
            return DeliveryResult("the receiver wants no more (410)", is_final=True)
        what = "redirects are not followed" if 300 <= status < 400 else "expected 2xx"
        return DeliveryResult(f"the receiver answered {status}; {what}")

    async def _ask(self, http: httpx.AsyncClient, attempt: Attempt) -> int:
        host, port = check_url(attempt.url, allow_private=self._allow_private)
        address = await resolve(host, port, allow_private=self._allow_private)
        url = httpx.URL(attempt.url)
        now = int(time.time())
        headers = {
            "Host": url.netloc.decode(),
            "Content-Type": "application/json",
            "User-Agent": "annealq",
            "webhook-id": attempt.event_id,
            "webhook-timestamp": str(now),
            "webhook-signature": deliveries.sign(attempt.secret, attempt.event_id, now, attempt.body),
        }
        request = http.build_request(
            "POST",
            url.copy_with(host=address),
            content=attempt.body.encode(),
            headers=headers,
            timeout=httpx.Timeout(_ANSWER_S, connect=_CONNECT_S),
            # The certificate is checked against the name, not against the address.
            extensions={"sni_hostname": host},
        )
        answer = await http.send(request, stream=True, follow_redirects=False)
        await answer.aclose()  # what it says is of no interest
        return answer.status_code
