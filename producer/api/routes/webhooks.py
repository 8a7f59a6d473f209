"""Messages that annealq sends to the webhook of a run, described in /openapi.json."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

router = APIRouter()


class WebhookMessage(BaseModel):
    """The body of a message; its headers are those of standardwebhooks.com."""

    type: Literal["run.done", "run.failed", "run.cancelled", "run.waiting", "run.resumed"] = Field(
        description="The run has finished; or its solver has failed for 30 seconds, or answers again."
    )
    timestamp: datetime
    data: dict[str, Any] = Field(
        description="The run as GET /v1/runs/RUN returns it. While it waits, `outage` has the error of "
        "its solver, `since` and `retry_at`, and `waits` is the same as text."
    )


@router.post("run", summary="Be notified about a run")
def notify(message: WebhookMessage) -> None:
    """Receive a `message` when a run ends, or waits for a solver that fails; answer with 2xx."""
