"""Messages that annealq sends to the webhook of a run, described in /openapi.json."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

router = APIRouter(tags=["webhooks"])


MessageType = Literal[
    "run.done",
    "run.failed",
    "run.cancelled",
    "run.waiting",
    "run.resumed",
    "run.alarm",
    "run.paused",
    "run.budget_spent",
    "run.progress",
    "webhook.test",
]


class WebhookMessage(BaseModel):
    """The body of a message; its headers are those of standardwebhooks.com."""

    type: MessageType = Field(
        description="The run has finished; or its solver has failed for 30 seconds, or answers again; or the "
        "newest problems of its chip differ from the chip's past; or it is paused, other than by its window; "
        "or its budget is spent; or a quarter of its batches is scored, which is told only on request; or a "
        "user tests the webhook."
    )
    timestamp: datetime
    data: dict[str, Any] = Field(
        description="The run as GET /v1/runs/RUN returns it. While it waits, `outage` has the error of "
        "its solver, `since` and `retry_at`, and `waits` says why it does not continue. `qpus` has the "
        "alarms of its chips. With run.progress, `percent` is 25, 50 or 75."
    )


@router.post("run", summary="Be notified about a run")
def run_changed(message: WebhookMessage) -> None:
    """Receive a `message` when a run ends, or waits for a solver that fails; answer with 2xx."""
