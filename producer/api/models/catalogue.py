"""Networks, embeddings, schedules and the plan as the API answers with them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from producer.embeddings.queries import EmbeddingSummary
from producer.networks.queries import NetworkFacts, NetworkSummary
from producer.planning.schedules import FiringSummary, ScheduleSummary
from schema.database.rows import copy_row
from schema.network.architecture import Architecture
from schema.states import PausedBy


class TakenImages(BaseModel):
    """The images that a network takes."""

    height: int = Field(description="Pixels; `resize` makes images of other sizes fit.")
    width: int
    dtype: Literal["uint8"] = Field(description="Fractions from 0 to 1 are multiplied by 255.")
    minimum: int
    maximum: int = Field(description="Full brightness; `scale_pixels` scales pixels from 0..255 to it.")


@dataclass(frozen=True, kw_only=True)
class ShownNetwork(NetworkFacts):
    """A network."""

    own_accuracy: float | None  # on images held out while training
    train_accuracy: float | None
    takes: TakenImages
    layers: dict[str, Any]  # its architecture

    @classmethod
    def of(cls, network: NetworkSummary) -> ShownNetwork:
        """Return what is shown of ``network``."""
        brightest = Architecture.from_dict(network.architecture).input.image_max
        takes = TakenImages(
            height=network.height, width=network.width, dtype="uint8", minimum=0, maximum=brightest
        )
        return copy_row(network, cls, takes=takes, layers=network.architecture)


class NetworkList(BaseModel):
    """The networks in the database, newest first, and the names of those that are installed on first use."""

    networks: list[ShownNetwork]
    shipped: list[str]


class EmbeddingList(BaseModel):
    """Embeddings, newest first."""

    embeddings: list[EmbeddingSummary]


class ScheduleList(BaseModel):
    """Schedules, sorted by name."""

    schedules: list[ScheduleSummary]


@dataclass(frozen=True, kw_only=True)
class ShownSchedule(ScheduleSummary):
    """A schedule with its latest firings, newest first."""

    firings: list[FiringSummary]


class PlannedRun(BaseModel):
    """The work on a run until the next windows close. QPU times are microseconds."""

    run_id: int
    name: str
    solver: str
    priority: int
    paused_by: PausedBy | None
    window: str | None
    deadline_at: datetime | None
    begins_at: datetime | None = Field(description="When work on it starts; null if it does not.")
    images: int
    problems: int
    qpu_us: int
    seconds: float = Field(description="How long it occupies the solver.")
    cost: float | None
    currency: str | None
    budget_left_us: float | None
    left_images: int
    left_qpu_us: int | None
    left: str | None = Field(description="Why images remain; null if none do.")
    basis: str = Field(description="Where the estimates come from.")
    qpus: list[dict[str, Any]] = Field(description="The QPUs that its dry run compares.")


class Plan(BaseModel):
    """A forecast from `now` until the next windows close, in 24 hours without any."""

    now: datetime
    until: datetime
    qpu_us: int
    cost: float | None
    currency: str | None
    runs: list[PlannedRun]
