"""The application: what is served where, how it starts and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version
from typing import Any

import anyio.to_thread
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.types import ASGIApp, Receive, Scope, Send

from producer.api.core import errors
from producer.api.core.body_limit import BodyLimit
from producer.api.core.service import Service
from producer.api.routes import catalogue, events, health, metrics, options, results, runs, submissions
from producer.webhooks.sender import Courier

ROUTERS = (
    *(submissions.router, runs.router, results.router, events.router),
    *(catalogue.router, health.router, metrics.router),
)


def build(service: Service, dashboard: ASGIApp | None = None) -> FastAPI:
    """The API around a service; ``dashboard``: what is served at `/`, behind all of the API's paths."""
    app = FastAPI(
        title="annealq",
        version=version("annealq"),
        description="Classify images on a quantum annealer, as an asynchronous queue of batches.",
        lifespan=_lifespan,
        docs_url="/docs",
        redoc_url=None,
    )
    app.state.service = service
    for router in ROUTERS:
        app.include_router(router)
    if dashboard is not None:
        app.router.default = _pages(app.router.default, dashboard)
    app.add_middleware(BodyLimit, most=service.api.max_body)
    errors.install(app)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign] # as FastAPI's manual has it
    return app


def _pages(missing: ASGIApp, dashboard: ASGIApp) -> ASGIApp:
    """What answers where no route of the API does. A mount at `/` would also take its wrong methods."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        of_api = scope["type"] != "http" or scope["path"].startswith("/v1/")
        await (missing if of_api else dashboard)(scope, receive, send)

    return answer


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    service: Service = app.state.service
    # Fewer threads than FastAPI's forty: they share one interpreter, and each wants a connection.
    anyio.to_thread.current_default_thread_limiter().total_tokens = service.api.threads
    service.doorbell.start()
    courier = Courier(service.database, allow_private=service.api.webhook_private)
    delivering = asyncio.create_task(courier.run())
    try:
        yield
    finally:
        delivering.cancel()
        with suppress(asyncio.CancelledError):
            await delivering
        service.doorbell.close()
        service.database.dispose()


def _openapi(app: FastAPI) -> dict[str, Any]:
    if not app.openapi_schema:
        described = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes
        )
        described.setdefault("components", {}).setdefault("schemas", {}).update(options.schemas())
        app.openapi_schema = described
    return app.openapi_schema
