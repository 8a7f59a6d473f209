"""Networks, embeddings, schedules and the plan as the API answers with them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Self

from pydantic import BaseModel, Field

from producer.embeddings.queries import EmbeddingSummary
from producer.networks.queries import NetworkFacts, NetworkSources, NetworkSummary
from producer.planning.schedules import FiringSummary, ScheduleSummary
from schema.database.rows import copy_row
from schema.network.layers import Input, Resize, VectorInput, read_input
from schema.shapes import Dtype
from schema.states import PausedBy


class TakenImages(BaseModel):
    """The images that a network takes."""

    kind: Literal["image", "vector"]
    shape: list[int] = Field(description="Of one image: height and width, and 3 for colour; or values.")
    dtype: Dtype = Field(description="Fractions from 0 to 1 are multiplied by 255 for uint8.")
    height: int | None = Field(description="Pixels; null for vectors.")
    width: int | None
    channels: int | None = Field(description="1 for grey, 3 for colour; null for vectors.")
    minimum: int | None = Field(description="Null for vectors, whose values may be any finite numbers.")
    maximum: int | None = Field(
        description="Full brightness; `scale_pixels` scales pixels from 0..255 to it."
    )
    resize: Resize | None = Field(
        description="How images of other sizes are made to fit; null: they are refused without `resize`."
    )

    @classmethod
    def of(cls, takes: Input) -> Self:
        """Return what is shown of the images that an input ``takes``."""
        shape = takes.image_shape
        if isinstance(takes, VectorInput):
            pixels: dict[str, Any] = dict.fromkeys(
                ("height", "width", "channels", "minimum", "maximum", "resize")
            )
        else:
            pixels = takes.model_dump(include={"height", "width"})
            pixels |= {"channels": takes.channels, "minimum": 0, "maximum": takes.image_max}
            pixels["resize"] = takes.resize
        return cls(
            kind="vector" if shape.is_vector else "image",
            shape=list(shape.sizes),
            dtype=shape.dtype,
            **pixels,
        )


@dataclass(frozen=True, kw_only=True)
class ShownNetwork(NetworkFacts):
    """A network."""

    own_accuracy: float | None  # on images held out while training
    train_accuracy: float | None
    balanced_accuracy: float | None  # of the same images; None: the classes are balanced
    auc: float | None  # mean area under the ROC curves of the classes; None: as above
    takes: TakenImages
    layers: dict[str, Any]  # its architecture
    sources: NetworkSources | None  # what each of its sources adds; None: it has no sources

    @classmethod
    def of(cls, network: NetworkSummary) -> ShownNetwork:
        """Return what is shown of ``network``."""
        takes = TakenImages.of(read_input(network.architecture["input"]))
        return copy_row(network, cls, takes=takes, layers=network.architecture, sources=network.sources)


@dataclass(frozen=True, kw_only=True)
class AddedNetwork(ShownNetwork):
    """A network that was sent for training, or imported."""

    notes: list[str]  # what was changed or left out when its training images were read


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
