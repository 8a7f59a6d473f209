"""GET /metrics, for Prometheus."""

from __future__ import annotations

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

from producer.api.core.service import Shared
from producer.api.keys.authentication import Reader
from producer.api.load.routing import PooledRoute

router = APIRouter(route_class=PooledRoute, tags=["service"])


@router.get(
    "/metrics",
    summary="Metrics for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
def read_metrics(service: Shared, caller: Reader) -> Response:
    """Return counts of runs, batches, images, problems and workers by state, QPU time, and the age of due
    batches; and of the process that answers: requests, threads, listeners, webhooks and memory.

    A caller who sees all runs also gets the metrics of each unfinished run, and what owners used today.
    """
    return Response(service.metrics.text(with_details=caller.only is None), media_type=CONTENT_TYPE_LATEST)
