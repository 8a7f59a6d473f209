"""The two clients: `Client` blocks, `AsyncClient` runs in an event loop. What they can do is the same."""

from __future__ import annotations

import os
from types import TracebackType
from typing import Self

from .blocking import blocking, blocking_iterator, complete
from .operations import Operations

LOCAL_URL = "http://127.0.0.1:8000"  # of `annealq serve`
PATIENCE_S = 300.0
_TIMEOUT_S = 60.0


class AsyncClient(Operations):
    """Client of one server, for asyncio and trio; any number of tasks may use it.

    Args:
        url: of the server; default: that of `annealq serve` on this machine.
        key: API key; default: the variable ANNEALQ_KEY.
        patience_s: seconds for which a request is repeated while the server is away, restarts or has too
            much to do (refused and broken connections, 429, 502, 503, 504); 0: give up at once. What is
            repeated is logged as `annealq.client`.
        timeout_s: seconds to wait for each answer; for a file, which the server prepares, at least 600.

    Example:
        async with AsyncClient(url, key) as annealq:
            run = await annealq.submit("digits.npz", network="digits")
            async for image in annealq.results(run):
                print(image.index, image.predicted_class)
    """

    def __init__(
        self,
        url: str = LOCAL_URL,
        key: str | None = None,
        *,
        patience_s: float = PATIENCE_S,
        timeout_s: float = _TIMEOUT_S,
    ) -> None:
        # Here, because httpx takes longer to import than all the rest.
        from .connection import Connection
        from .transports import Async, options_of

        options = options_of(url, os.environ.get("ANNEALQ_KEY") if key is None else key, timeout_s)
        super().__init__(Connection(Async(**options), patience_s))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<AsyncClient of {self._connection.transport.http.base_url}>"  # without the key

    async def close(self) -> None:
        """Close all connections."""
        await self._connection.transport.close()


class Client:
    """Client of one server, which blocks; several threads may use it. Its arguments are AsyncClient's.

    >>> with Client(url) as annealq:
    ...     run = annealq.submit(images, labels, network="digits", reads=50, idempotency_key="monday")
    ...     for progress in annealq.events(run):
    ...         state = progress.state
    ...     first = next(annealq.results(run))
    >>> state, first.index, len(first.scores)
    ('done', 0, 10)
    """

    def __init__(
        self,
        url: str = LOCAL_URL,
        key: str | None = None,
        *,
        patience_s: float = PATIENCE_S,
        timeout_s: float = _TIMEOUT_S,
    ) -> None:
        from .connection import Connection
        from .transports import Blocking, options_of

        options = options_of(url, os.environ.get("ANNEALQ_KEY") if key is None else key, timeout_s)
        self._connection = Connection(Blocking(**options), patience_s)
        self._async = Operations(self._connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Client of {self._connection.transport.http.base_url}>"  # without the key

    def close(self) -> None:
        """Close all connections."""
        complete(self._connection.transport.close())

    submit = blocking(Operations.submit)
    calibrate = blocking(Operations.calibrate)
    wait_for_calibration = blocking(Operations.wait_for_calibration)
    train = blocking(Operations.train)
    add_network = blocking(Operations.add_network)
    wait_for_network = blocking(Operations.wait_for_network)
    dry_run = blocking(Operations.dry_run)
    calibration = blocking(Operations.calibration)
    calibrations = blocking_iterator(Operations.calibrations)
    run = blocking(Operations.run)
    runs = blocking_iterator(Operations.runs)
    networks = blocking(Operations.networks)
    network = blocking(Operations.network)
    embeddings = blocking(Operations.embeddings)
    me = blocking(Operations.me)
    cancel = blocking(Operations.cancel)
    pause = blocking(Operations.pause)
    resume = blocking(Operations.resume)
    change = blocking(Operations.change)
    delete = blocking(Operations.delete)
    rescore = blocking(Operations.rescore)
    events = blocking_iterator(Operations.events)
    wait = blocking(Operations.wait)
    results = blocking_iterator(Operations.results)
    result_arrays = blocking(Operations.result_arrays)
    result_frame = blocking(Operations.result_frame)
    save_results = blocking(Operations.save_results)
    save_bundle = blocking(Operations.save_bundle)
    save_dataset = blocking(Operations.save_dataset)
    sample_set = blocking(Operations.sample_set)
    deliveries = blocking_iterator(Operations.deliveries)
    delivery = blocking(Operations.delivery)
    redeliver = blocking(Operations.redeliver)
    check_webhook = blocking(Operations.check_webhook)
    ask = blocking(Operations.ask)
