"""What the API says about itself."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from producer.api.keys.keys import Scope
from producer.api.keys.limits import LimitsLeft
from producer.api.keys.listing import KeySummary


class Liveness(BaseModel):
    """The process answers."""

    status: Literal["alive"]


class Readiness(BaseModel):
    """Database and broker answer."""

    status: Literal["ready"]
    database: str
    broker: str


class ProblemKind(BaseModel):
    """A kind of error."""

    type: str
    code: str
    title: str


class CallerLimits(BaseModel):
    """Limits of an owner of keys; null: none."""

    requests_per_minute: int | None
    images_per_day: int | None
    qpu_s_per_day: float | None


class ShownCaller(BaseModel):
    """The caller."""

    name: str
    scope: Scope
    sees_all_runs: bool
    limits: CallerLimits
    left: LimitsLeft = Field(description="What is left of each limit; null where there is none.")


class KeyList(BaseModel):
    """Keys, newest first."""

    keys: list[KeySummary]
