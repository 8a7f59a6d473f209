"""GET /metrics, for Prometheus."""

from __future__ import annotations

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

from producer.api.core.authentication import Reader
from producer.api.core.service import Shared

router = APIRouter()


@router.get("/metrics", summary="Figures for Prometheus", response_class=Response)
def metrics(at: Shared, caller: Reader) -> Response:
    """Counts of runs, batches, images and problems by state, QPU time, and how long work has been due.

    Those who see all runs are also told the figures of each that is not at its end.
    """
    return Response(at.exposition.text(by_run=caller.only is None), media_type=CONTENT_TYPE_LATEST)
