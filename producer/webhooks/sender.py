"""Sends messages to webhooks in the background of `annealq serve`."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from datetime import datetime

import httpx

from producer.context import RunInThread
from producer.webhooks import deliveries
from producer.webhooks.addresses import check_url, resolve
from producer.webhooks.deliveries import Attempt, DeliveryResult
from schema.database import Database
from schema.errors import ParameterError, StorageError, reason

_SEARCH_ALL_S = 600.0
_EVERY_S = 0.5
_AWAY_S = 5.0  # while the database does not answer
_MAX_SENDING = 8
_CONNECT_S = 5.0
_ANSWER_S = 15.0  # for a whole attempt; far less than the lease
_LOG = logging.getLogger("annealq.api")


class WebhookSender:
    """Sends the messages of ``database`` in an event loop. Several processes may send: messages are leased.

    ``run`` calls a function in a thread. Private addresses are refused unless ``allow_private`` is set.
    """

    def __init__(self, database: Database, run: RunInThread, *, allow_private: bool) -> None:
        self._database, self._run, self._allow_private = database, run, allow_private
        self._sending: set[asyncio.Task[None]] = set()
        self._since: datetime | None = None  # runs that finished earlier have their deliveries
        self._search_all_at = float("-inf")

    async def run(self) -> None:
        """Send until cancelled. Interrupted attempts are repeated when their lease expires."""
        async with self.client() as http:
            while True:
                await asyncio.sleep(await self.start_due(http))

    def client(self) -> httpx.AsyncClient:
        """Return an HTTP client without proxies, which would resolve names again."""
        return httpx.AsyncClient(trust_env=False, verify=ssl.create_default_context())

    async def wait(self) -> None:
        """Wait for all attempts that have started."""
        await asyncio.gather(*self._sending)

    async def start_due(self, http: httpx.AsyncClient) -> float:
        """Start attempts for due messages with ``http``; return the seconds to wait until the next call."""
        try:
            await self._enqueue()
            while len(self._sending) < _MAX_SENDING:
                attempt = await self._run(deliveries.claim, self._database)
                if attempt is None:
                    break
                task = asyncio.create_task(self._deliver(http, attempt))
                self._sending.add(task)
                task.add_done_callback(self._sending.discard)
        except StorageError as error:
            _LOG.warning("webhooks are delayed: %s", error)
            return _AWAY_S
        return _EVERY_S

    async def _enqueue(self) -> None:
        # Usually recent runs are enough; all are searched now and then, because clocks may be set back.
        if time.monotonic() > self._search_all_at:
            self._since, self._search_all_at = None, time.monotonic() + _SEARCH_ALL_S
        self._since = await self._run(deliveries.enqueue_deliveries, self._database, self._since)
        await self._run(deliveries.enqueue_outages, self._database)
        await self._run(deliveries.enqueue_alarms, self._database)

    async def _deliver(self, http: httpx.AsyncClient, attempt: Attempt) -> None:
        result = await self._post(http, attempt)
        if result.error is not None:
            _LOG.warning("webhook %s, attempt %d: %s", attempt.event_id, attempt.number, result.error)
        try:
            await self._run(deliveries.record_result, self._database, attempt, result)
        except StorageError as error:
            _LOG.warning("webhook %s will be sent again: %s", attempt.event_id, error)

    async def _post(self, http: httpx.AsyncClient, attempt: Attempt) -> DeliveryResult:
        try:
            async with asyncio.timeout(_ANSWER_S):
                status = await self._request(http, attempt)
        except ParameterError as error:
            return DeliveryResult(str(error), is_final=True)
        except (httpx.HTTPError, OSError, TimeoutError) as error:
            return DeliveryResult(f"not delivered: {reason(error)}"[:500])
        if 200 <= status < 300:
            return DeliveryResult()
        if status == httpx.codes.GONE:
            return DeliveryResult("the receiver has unsubscribed (410)", is_final=True)
        what = "redirects are not followed" if 300 <= status < 400 else "expected 2xx"
        return DeliveryResult(f"the receiver answered {status}; {what}")

    async def _request(self, http: httpx.AsyncClient, attempt: Attempt) -> int:
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
        await answer.aclose()  # without reading the body
        return answer.status_code
