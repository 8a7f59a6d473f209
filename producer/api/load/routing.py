"""Runs the functions of routes in pools of threads: reads in one, everything that writes in another."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from producer.api.load.pools import Pool, Pools

_POOL: ContextVar[Pool] = ContextVar("pool")


class PooledRoute(APIRoute):
    """A route whose function, unless it is async, runs in a pool of the service instead of FastAPI's."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        is_async = inspect.iscoroutinefunction(endpoint)
        super().__init__(path, endpoint if is_async else _pooled(endpoint), **options)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return FastAPI's handler, called with the pool for the method of the request."""
        handle = super().get_route_handler()

        async def with_pool(request: Request) -> Response:
            pools: Pools = request.app.state.service.pools
            _POOL.set(pools.reads if request.method in ("GET", "HEAD") else pools.writes)
            return await handle(request)

        return with_pool


def _pooled(endpoint: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(endpoint)
    async def call(**values: Any) -> Any:
        return await _POOL.get().run(endpoint, **values)

    return call
