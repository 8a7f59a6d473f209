"""What the API says about itself."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel


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
