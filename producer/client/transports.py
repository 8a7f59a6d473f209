"""Sends requests by httpx, blocking or async. Both transports look alike, and translate httpx's errors."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

import httpx

from .errors import ClientError

T = TypeVar("T")

_FILE_S = 600.0


class NotSent(Exception):
    """No connection was made: the server cannot have seen the request."""


class NoAnswer(Exception):
    """The connection broke, or no answer came in time: the server may have carried out the request."""


class Transport(Protocol):
    """How requests are sent and waited for. `Blocking` never suspends, so that no event loop is needed."""

    @property
    def http(self) -> httpx.Client | httpx.AsyncClient:
        """Return httpx's client, which builds requests."""
        ...

    async def send(self, request: httpx.Request, *, stream: bool = False) -> httpx.Response:
        """Send ``request``; with ``stream``, return before the body arrives. Raise NotSent or NoAnswer."""
        ...

    def chunks(self, answer: httpx.Response) -> AsyncIterator[bytes]:
        """Yield the body of a streamed ``answer`` as it arrives; raise NoAnswer."""
        ...

    async def read(self, answer: httpx.Response) -> None:
        """Receive the whole body of a streamed ``answer``; raise NoAnswer."""
        ...

    async def release(self, answer: httpx.Response) -> None:
        """End a streamed ``answer``."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait for ``seconds``."""
        ...

    async def call(self, function: Callable[[], T]) -> T:
        """Return what ``function`` returns, which may read or write files."""
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...


class Blocking:
    """Sends requests in the calling thread."""

    def __init__(self, **options: Any) -> None:
        self.http = httpx.Client(**options)

    async def send(self, request: httpx.Request, *, stream: bool = False) -> httpx.Response:
        with _translated():
            return self.http.send(request, stream=stream)

    async def chunks(self, answer: httpx.Response) -> AsyncIterator[bytes]:
        with _translated():
            for chunk in answer.iter_bytes():
                yield chunk

    async def read(self, answer: httpx.Response) -> None:
        with _translated():
            answer.read()

    async def release(self, answer: httpx.Response) -> None:
        answer.close()

    async def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    async def call(self, function: Callable[[], T]) -> T:
        return function()

    async def close(self) -> None:
        self.http.close()


class Async:
    """Sends requests in an event loop of asyncio or trio."""

    def __init__(self, **options: Any) -> None:
        self.http = httpx.AsyncClient(**options)

    async def send(self, request: httpx.Request, *, stream: bool = False) -> httpx.Response:
        with _translated():
            return await self.http.send(request, stream=stream)

    async def chunks(self, answer: httpx.Response) -> AsyncIterator[bytes]:
        with _translated():
            async for chunk in answer.aiter_bytes():
                yield chunk

    async def read(self, answer: httpx.Response) -> None:
        with _translated():
            await answer.aread()

    async def release(self, answer: httpx.Response) -> None:
        await answer.aclose()

    async def sleep(self, seconds: float) -> None:
        import anyio

        await anyio.sleep(seconds)

    async def call(self, function: Callable[[], T]) -> T:
        import anyio.to_thread

        return await anyio.to_thread.run_sync(function)

    async def close(self) -> None:
        await self.http.aclose()


def options_of(url: str, key: str | None, timeout_s: float) -> dict[str, Any]:
    """Return the options of httpx's clients for the server at ``url``, which may need a ``key``.

    Raises:
        ClientError: ``url`` is not the address of a server.
    """
    try:
        address = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ClientError(f"{url!r} is not a URL ({error}): give one as http://127.0.0.1:8000") from None
    if address.scheme not in ("http", "https") or not address.host:
        raise ClientError(f"{url!r} is not a URL of a server: give one as http://127.0.0.1:8000")
    return {
        "base_url": address,
        "headers": {} if not key else {"Authorization": f"Bearer {key}"},
        "timeout": timeout_s,
        "trust_env": not _is_loopback(address.host),  # no proxy leads back to this machine
    }


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def file_timeout(http: httpx.Client | httpx.AsyncClient) -> httpx.Timeout:
    """Return the limits of ``http`` for a file, which the server prepares before it sends the first byte."""
    limits = http.timeout
    read_s = None if limits.read is None else max(limits.read, _FILE_S)
    return httpx.Timeout(connect=limits.connect, read=read_s, write=limits.write, pool=limits.pool)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (httpx.UnsupportedProtocol, httpx.LocalProtocolError) as error:
        raise ClientError(f"the request cannot be sent: {_text(error)}") from error
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):  # time does not mend it
            raise ClientError(f"the server's certificate is not valid: {_text(error)}") from error
        raise NotSent(_text(error)) from error
    except httpx.RequestError as error:
        raise NoAnswer(_text(error)) from error


def _text(error: httpx.RequestError) -> str:
    return str(error) or type(error).__name__
