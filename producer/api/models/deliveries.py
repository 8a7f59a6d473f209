"""Messages to webhooks as the API answers with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from producer.webhooks.listing import DeliverySummary, PastAttempt


class DeliveryPage(BaseModel):
    """Messages, newest first, and the path of the following page."""

    deliveries: list[DeliverySummary]
    next: str | None


@dataclass(frozen=True, kw_only=True)
class ShownDelivery(DeliverySummary):
    """A message with every attempt to send it, and its body as it is signed."""

    tries: list[PastAttempt]
    body: str


class TestMessage(BaseModel):
    """The JSON body of POST /v1/webhooks/test, which is optional."""

    __test__ = False  # no test of pytest

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: Annotated[str, Field(min_length=1, max_length=2_000)] | None = Field(
        None, description="Instead of the webhook of the key's owner."
    )
