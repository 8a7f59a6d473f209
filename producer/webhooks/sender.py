"""Sends messages to webhooks in the background of `annealq serve`."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache

import httpx
from cachetools import TTLCache

from producer.context import RunInThread
from producer.webhooks import deliveries, notices
from producer.webhooks.addresses import check_url, origin_of, resolve
from producer.webhooks.deliveries import Attempt, DeliveryResult
from producer.webhooks.signing import sign
from schema.database import Database
from schema.errors import ParameterError, StorageError, reason

_SEARCH_ALL_S = 600.0
_EVERY_S = 0.5
_AWAY_S = 5.0  # while the database does not answer
_MAX_SENDING = 64
_MAX_PER_ORIGIN = 4
_PATIENCE_S = 4.0  # after which an origin is slow
_SLOW_S = 300.0  # for which a slow origin gets one message at a time
_MAX_SLOW = _MAX_SENDING // 2  # messages to such origins at a time, so that the others always have room
_MAX_ORIGINS = 10_000
_CONNECT_S = 5.0
_ANSWER_S = 15.0  # for a whole attempt; far less than the lease
_LOG = logging.getLogger("annealq.api")


class WebhookSender:
    """Sends the messages of ``database`` in an event loop. Several processes may send: messages are leased.

    ``run`` calls a function in a thread. Private addresses are refused unless ``allow_private`` is set. A
    receiver that is slow delays its own messages only: each origin (scheme, host and port) has a limit of
    messages at a time, and names are resolved in as many threads as there are messages at a time.
    ``observe`` is called with the result of each attempt.
    """

    def __init__(
        self,
        database: Database,
        run: RunInThread,
        *,
        allow_private: bool,
        observe: Callable[[DeliveryResult], None] = lambda _result: None,
    ) -> None:
        self._database, self._run, self._allow_private = database, run, allow_private
        self._observe = observe
        self._resolvers = ThreadPoolExecutor(_MAX_SENDING, "webhook-names")
        self._sending: dict[asyncio.Task[None], str] = {}  # and the origin that each sends to
        self._slow: TTLCache[str, bool] = TTLCache(_MAX_ORIGINS, _SLOW_S)
        self._since: datetime | None = None  # runs that finished earlier have their deliveries
        self._search_all_at = float("-inf")

    async def run(self) -> None:
        """Send until cancelled. Interrupted attempts are repeated when their lease expires."""
        try:
            async with self.client() as http:
                while True:
                    await asyncio.sleep(await self.start_due(http))
        finally:
            self._resolvers.shutdown(wait=False, cancel_futures=True)

    def client(self) -> httpx.AsyncClient:
        """Return an HTTP client without proxies, which would resolve names again."""
        return httpx.AsyncClient(trust_env=False, verify=_tls())

    async def wait(self) -> None:
        """Wait for all attempts that have started."""
        await asyncio.gather(*self._sending)

    async def start_due(self, http: httpx.AsyncClient) -> float:
        """Start attempts for due messages with ``http``; return the seconds to wait until the next call."""
        try:
            await self._enqueue()
            while len(self._sending) < _MAX_SENDING:
                attempt = await self._run(deliveries.claim, self._database, self._busy())
                if attempt is None:
                    break
                task = asyncio.create_task(self._deliver(http, attempt))
                self._sending[task] = origin_of(attempt.url)
                task.add_done_callback(self._sending.pop)
        except StorageError as error:
            _LOG.warning("webhooks are delayed: %s", error)
            return _AWAY_S
        return _EVERY_S

    async def _enqueue(self) -> None:
        # Usually recent runs are enough; all are searched now and then, because clocks may be set back.
        if time.monotonic() > self._search_all_at:
            self._since, self._search_all_at = None, time.monotonic() + _SEARCH_ALL_S
        self._since = await self._run(notices.enqueue_notices, self._database, self._since)

    def _busy(self) -> list[str]:
        """Return the origins that get no further message now."""
        counts = Counter(self._sending.values())
        slow = [origin for origin in list(self._slow) if origin in counts or self._is_full_of_slow(counts)]
        return [*slow, *(origin for origin, count in counts.items() if count >= _MAX_PER_ORIGIN)]

    def _is_full_of_slow(self, counts: Counter[str]) -> bool:
        return sum(count for origin, count in counts.items() if origin in self._slow) >= _MAX_SLOW

    async def _deliver(self, http: httpx.AsyncClient, attempt: Attempt) -> None:
        result = await self._post(http, attempt)
        self._observe(result)
        if result.error is not None:
            _LOG.warning("webhook %s, attempt %d: %s", attempt.event_id, attempt.number, result.error)
        try:
            await self._run(deliveries.record_result, self._database, attempt, result)
        except StorageError as error:
            _LOG.warning("webhook %s will be sent again: %s", attempt.event_id, error)

    async def _post(self, http: httpx.AsyncClient, attempt: Attempt) -> DeliveryResult:
        begun, origin = time.monotonic(), origin_of(attempt.url)
        result = await self._request_in_time(http, attempt)
        elapsed_s = time.monotonic() - begun
        if elapsed_s >= _PATIENCE_S:
            self._slow[origin] = True
        else:
            self._slow.pop(origin, None)
        return replace(result, latency_ms=round(elapsed_s * 1e3))

    async def _request_in_time(self, http: httpx.AsyncClient, attempt: Attempt) -> DeliveryResult:
        try:
            async with asyncio.timeout(_ANSWER_S):
                status = await self._request(http, attempt)
        except ParameterError as error:
            return DeliveryResult(str(error), is_final=True)
        except (httpx.HTTPError, OSError, TimeoutError) as error:
            return DeliveryResult(f"not delivered: {reason(error)}"[:500])
        return _judged(status)

    async def _request(self, http: httpx.AsyncClient, attempt: Attempt) -> int:
        host, port = check_url(attempt.url, allow_private=self._allow_private)
        addresses = await resolve(host, port, self._resolvers, allow_private=self._allow_private)
        connect_s = min(_CONNECT_S, _ANSWER_S / (len(addresses) + 1))
        while True:
            address = addresses.pop(0)
            try:
                return await self._send(http, attempt, host, address, connect_s)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                if not addresses:  # nothing of the message was sent to any of them
                    raise

    async def _send(
        self, http: httpx.AsyncClient, attempt: Attempt, host: str, address: str, connect_s: float
    ) -> int:
        """Send ``attempt`` to one ``address`` of ``host``; return the status of the answer."""
        url, now = httpx.URL(attempt.url), datetime.now(UTC)
        headers = {
            "Host": url.netloc.decode(),
            "Content-Type": "application/json",
            "User-Agent": "annealq",
            "webhook-id": attempt.event_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": sign(attempt.secret, attempt.event_id, now, attempt.body),
        }
        request = http.build_request(
            "POST",
            url.copy_with(host=address),
            content=attempt.body.encode(),
            headers=headers,
            timeout=httpx.Timeout(_ANSWER_S, connect=connect_s),
            # The certificate is checked against the name, not against the address.
            extensions={"sni_hostname": host},
        )
        answer = await http.send(request, stream=True, follow_redirects=False)
        await answer.aclose()  # without reading the body
        return answer.status_code


def _judged(status: int) -> DeliveryResult:
    """Return what an answer with ``status`` means for the message."""
    if 200 <= status < 300:
        return DeliveryResult(status=status)
    if status == httpx.codes.GONE:
        return DeliveryResult("the receiver has unsubscribed (410)", is_final=True, status=status)
    what = "redirects are not followed" if 300 <= status < 400 else "expected 2xx"
    return DeliveryResult(f"the receiver answered {status}; {what}", status=status)


@cache
def _tls() -> ssl.SSLContext:
    """Return the context of all connections of this process: loading certificates takes 30 ms."""
    return ssl.create_default_context()
