"""The application: what is served on which path, and what happens at startup and shutdown."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version
from typing import Any

import anyio.to_thread
from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette_compress import CompressMiddleware

from producer.api.core import errors
from producer.api.core.body_limit import BodyLimit
from producer.api.core.key_check import KeyCheck
from producer.api.core.request_log import RequestLog
from producer.api.core.service import Service
from producer.api.metrics.requests import RequestMetrics
from producer.api.reference import openapi, page
from producer.api.routes import deliveries, health, keys, me, metrics, pages, problems, webhooks
from producer.api.routes.catalogue import calibrations, embeddings, networks, schedules
from producer.api.routes.runs import (
    bundles,
    control,
    datasets,
    events,
    images,
    listing,
    rescoring,
    results,
    run,
    sample_sets,
)
from producer.api.routes.submissions import calibrations as calibration_submissions
from producer.api.routes.submissions import dry_runs, options, submissions
from producer.api.routes.submissions import networks as network_submissions
from producer.api.transport.entity_tags import EntityTags
from producer.api.transport.heads import Heads
from producer.api.transport.origins import cors_options
from producer.webhooks.sender import WebhookSender

_FILE_THREADS = 8

ROUTERS = tuple(
    routes.router
    for routes in (
        *(
            submissions,
            dry_runs,
            listing,
            run,
            control,
            rescoring,
            results,
            images,
            datasets,
            bundles,
            sample_sets,
            events,
        ),
        *(deliveries, network_submissions, networks, embeddings, schedules),
        *(calibration_submissions, calibrations),
        *(keys, me, health, metrics, problems, page),
    )
)


def build(service: Service) -> FastAPI:
    """Return the application around ``service``: the API, and the dashboard on all other paths."""
    app = FastAPI(
        title="annealq",
        version=version("annealq"),
        description="Classify images on a quantum annealer, as an asynchronous queue of batches.",
        lifespan=_lifespan,
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.service = service
    app.state.routes = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]
    for router in ROUTERS:
        app.include_router(router)
    app.router.default = _outside_api(
        app.router.default, pages.dashboard(service, submissions.enqueue_parts).app()
    )
    app.add_middleware(
        BodyLimit,
        max_body=service.api.max_body,
        carries_images=submissions.carries_images,
        memory=service.bodies,
    )
    app.add_middleware(KeyCheck, authenticator=service.authenticator)
    app.add_middleware(EntityTags)
    app.add_middleware(Heads)
    app.add_middleware(CompressMiddleware, brotli=False, gzip_level=2, zstd_level=3)
    if service.api.cors_origins:
        app.add_middleware(CORSMiddleware, **cors_options(service.api.cors_origins))
    app.add_middleware(RequestLog)
    app.add_middleware(RequestMetrics, metrics=service.metrics.process)
    errors.install(app)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign] # as FastAPI's manual has it
    return app


def _outside_api(not_found: ASGIApp, dashboard: ASGIApp) -> ASGIApp:
    """Route other paths to the dashboard. A mount at `/` would also answer wrong methods of the API."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        is_api = scope["type"] != "http" or scope["path"].startswith("/v1/")
        await (not_found if is_api else dashboard)(scope, receive, send)

    return answer


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    service: Service = app.state.service
    # For what Starlette does with files; everything else has pools of its own.
    anyio.to_thread.current_default_thread_limiter().total_tokens = _FILE_THREADS
    service.notifier.start()
    service.reader.start()
    service.authenticator.last_use.start()
    sender = WebhookSender(
        service.database,
        service.pools.webhooks.run,
        allow_private=service.api.webhook_private,
        observe=lambda result: service.metrics.process.webhook(
            is_delivered=result.error is None, latency_ms=result.latency_ms
        ),
    )
    sending = asyncio.create_task(sender.run())
    try:
        yield
    finally:
        sending.cancel()
        with suppress(asyncio.CancelledError):
            await sending
        service.reader.close()
        service.notifier.close()
        service.authenticator.last_use.close()
        service.database.dispose()


def _openapi(app: FastAPI) -> dict[str, Any]:
    if not app.openapi_schema:
        app.openapi_schema = openapi.describe(app, app.state.routes, _schemas(), webhooks.router.routes)
    return app.openapi_schema


def _schemas() -> dict[str, Any]:
    submitted = options.schemas() | network_submissions.schemas() | calibration_submissions.schemas()
    return submitted | events.event_schemas()
