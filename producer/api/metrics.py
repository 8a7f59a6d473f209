"""GET /metrics, for Prometheus."""

from __future__ import annotations

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

from producer.api.access import Reader
from producer.api.service import Shared

router = APIRouter()


@router.get("/metrics", summary="Figures for Prometheus", response_class=Response)
def metrics(at: Shared, _caller: Reader) -> Response:
    """Counts of runs, batches, images and problems by state, QPU time, and how long work has been due."""
    return Response(at.exposition.text(), media_type=CONTENT_TYPE_LATEST)
