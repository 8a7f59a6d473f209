"""One server: requests that are repeated while they fail, where that is safe, and streams of events."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, aclosing
from typing import TYPE_CHECKING, Any, BinaryIO

from .errors import OutcomeUnknown, RequestRejected, ServerUnavailable, read_rejection
from .events import EventParser, ServerEvent
from .patience import Patience
from .transports import NoAnswer, NotSent, file_timeout

if TYPE_CHECKING:
    import httpx

    from .transports import Transport

_RETRIED = frozenset((429, 502, 503, 504))
_NOT_DONE = frozenset(("busy", "limit_reached"))  # codes of refusals before anything was done
_SILENCE_S = 60.0  # four heartbeats of an event stream
_QUIET_S = 10.0  # between two lines about an outage
_NO_CONTENT = 204
_LOG = logging.getLogger("annealq.client")


class Connection:
    """Sends requests by ``transport``, and repeats those that fail for up to ``patience_s`` seconds."""

    def __init__(self, transport: Transport, patience_s: float) -> None:
        self.transport, self._patience_s = transport, patience_s
        self._logged_at = float("-inf")

    async def ask(
        self,
        method: str,
        path: str,
        *,
        is_idempotent: bool = True,
        headers: Mapping[str, str] | None = None,
        into: BinaryIO | None = None,
        **content: Any,
    ) -> httpx.Response:
        """Return the response to a request, whose status is below 400.

        Args:
            method: GET, POST ...
            path: below the address of the server.
            is_idempotent: whether the request may be carried out twice without harm.
            headers: of the request.
            into: an open file, empty, for the body; by default it is in memory.
            content: of the request, as httpx's clients take it: params, json, data, files.

        Raises:
            RequestRejected: the server refuses it.
            ServerUnavailable: there was no answer for as long as the client is patient.
            OutcomeUnknown: it may have been carried out, and must not be repeated.
        """
        patience = Patience(self._patience_s)
        if into is not None:
            content["timeout"] = file_timeout(self.transport.http)
        while True:
            request = self._request(method, path, headers=headers, **content)
            error: NotSent | NoAnswer | RequestRejected
            try:
                if into is None:
                    answer = await self.transport.send(request)
                    await self._check(answer)
                else:
                    answer = await self._open(request)
                    await self._save(answer, into)
            except NotSent as failure:
                error = failure
            except NoAnswer as failure:
                if not is_idempotent:
                    raise OutcomeUnknown(
                        f"{method} {path}: no answer came ({failure}), and it may have been carried out: "
                        "look at the run before you repeat it"
                    ) from failure
                error = failure
            except RequestRejected as rejection:
                if not _is_temporary(rejection, is_idempotent=is_idempotent):
                    raise
                error = rejection
            else:
                return answer
            await self._pause(patience, error)

    async def events(
        self, path: str, last_id: str | None, deadline: float
    ) -> AsyncGenerator[ServerEvent, None]:
        """Yield the events at ``path``; reconnect until the server says that there are no more (204).

        Args:
            path: below the address of the server.
            last_id: id of the last event that was received, after which the stream resumes.
            deadline: time by `time.monotonic` at which the stream ends.

        Raises:
            RequestRejected: the server refuses the request.
            ServerUnavailable: there was no answer for as long as the client is patient.
        """
        patience = Patience(self._patience_s)
        while (left_s := deadline - time.monotonic()) > 0:
            headers = {"Accept": "text/event-stream"} | (
                {} if last_id is None else {"Last-Event-ID": last_id}
            )
            error: NotSent | NoAnswer | RequestRejected = NotSent("the server ended the stream of events")
            try:
                timeout_s = min(_SILENCE_S, left_s)
                answer = await self._open(self._request("GET", path, headers=headers, timeout=timeout_s))
                async with aclosing(self._parsed(answer, patience)) as events:
                    async for event in events:
                        last_id = event.id or last_id
                        yield event
                if answer.status_code == _NO_CONTENT:
                    return
            except (NotSent, NoAnswer) as failure:
                error = failure
            except RequestRejected as rejection:
                if rejection.status not in _RETRIED:
                    raise
                error = rejection
            await self._pause(patience, error, deadline)

    def _request(self, method: str, path: str, **content: Any) -> httpx.Request:
        return self.transport.http.build_request(method, path, **content)

    async def _open(self, request: httpx.Request) -> httpx.Response:
        """Return a streamed response that was not refused."""
        answer = await self.transport.send(request, stream=True)
        async with AsyncExitStack() as on_failure:
            on_failure.push_async_callback(self.transport.release, answer)
            await self._check(answer)
            on_failure.pop_all()
        return answer

    async def _save(self, answer: httpx.Response, file: BinaryIO) -> None:
        """Write the body of ``answer`` to ``file``, over what an earlier try has left there."""
        file.seek(0)
        file.truncate()
        try:
            async for chunk in self.transport.chunks(answer):
                file.write(chunk)
        finally:
            await self.transport.release(answer)

    async def _parsed(self, answer: httpx.Response, patience: Patience) -> AsyncGenerator[ServerEvent, None]:
        parser = EventParser()
        try:
            async for chunk in self.transport.chunks(answer):
                patience.renew()  # heartbeats, too
                for event in parser.feed(chunk):
                    yield event
        finally:
            await self.transport.release(answer)

    async def _check(self, answer: httpx.Response) -> None:
        """Raise RequestRejected if the status of ``answer`` says so."""
        if answer.status_code >= 300:  # redirects are not followed: they would take the key elsewhere
            await self.transport.read(answer)
            raise read_rejection(str(answer.url), answer.status_code, answer.headers, answer.content)

    async def _pause(
        self,
        patience: Patience,
        error: NotSent | NoAnswer | RequestRejected,
        deadline: float = float("inf"),
    ) -> None:
        """Wait before the next try; raise ``error`` if the client is patient no more."""
        rejection = error if isinstance(error, RequestRejected) else None
        server = self.transport.http.base_url
        reason = f"no answer from {server} ({error}): is `annealq serve` running there?"
        pause_s = patience.next_pause_s(None if rejection is None else rejection.retry_after_s)
        if pause_s is None:
            if rejection is not None:
                raise rejection
            raise ServerUnavailable(reason) from error
        is_due = time.monotonic() - self._logged_at > _QUIET_S
        if is_due:
            self._logged_at = time.monotonic()
        _LOG.log(
            logging.WARNING if is_due else logging.DEBUG,
            "%s Trying again in %.1f s, for another %.0f s at most.",
            reason if rejection is None else f"{server} answers {rejection.status} ({rejection}).",
            *(pause_s, patience.left_s()),
        )
        await self.transport.sleep(min(pause_s, max(deadline - time.monotonic(), 0.0)))


def _is_temporary(rejection: RequestRejected, *, is_idempotent: bool) -> bool:
    """Return whether the same request may be accepted later, and may be sent again."""
    if rejection.status not in _RETRIED:
        return False
    return is_idempotent or rejection.status == 429 or rejection.code in _NOT_DONE
