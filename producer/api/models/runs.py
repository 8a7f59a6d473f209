"""Runs as the API answers with them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from producer.progress.intake import IntakeProgress
from producer.progress.reasons import Outage
from producer.progress.rounds import ReadAgain, RoundUse
from producer.progress.stages import ImageProgress
from producer.runs.qpus import QpuUse
from producer.runs.queries import RunSummary
from schema.states import RunState


class RunLinks(BaseModel):
    """Paths of a run and of its parts."""

    self: str
    results: str
    events: str
    pause: str
    resume: str
    cancel: str


def _only_number_required(schema: dict[str, Any]) -> None:
    schema["required"] = ["run_id"]  # `fields` may leave out the others


@dataclass(frozen=True, kw_only=True)
class ListedRun(RunSummary):
    """A run in a list. With `fields`, only these, and its number."""

    __pydantic_config__ = ConfigDict(json_schema_extra=_only_number_required)

    owner: str | None  # of the keys that submitted it
    tags: list[str]
    waits: str | None  # why it does not continue, if its solver fails
    outage: Outage | None


class Promised(BaseModel):
    """A setting that calibrations have measured, and what a run with it takes."""

    accuracy: float = Field(description="On the validation images.")
    least_accuracy: float = Field(description="That the run reaches with the probability of the promise.")
    validation_images: int
    qpu_us: float
    most_qpu_us: float | None = Field(None, description="If as many images as may be are read again.")
    price: float | None
    finishes_at: datetime | None = Field(description="At the latest.")
    calibration: int
    qpu: str | None
    visible: str
    rounds: list[tuple[int, float]] = Field(description="Reads, and the share of the images, of each round.")
    rule: str
    unembedding: str
    chain_strength: float | None
    scale: float | None
    lam: float | None


class OtherSetting(Promised):
    """A setting of the Pareto front: none is more accurate without being dearer or later."""

    chosen: bool


class Kept(BaseModel):
    """Whether a finished run kept its promise; null where it cannot be said."""

    accuracy: bool | None
    budget: bool
    time: bool | None
    kept: bool | None


class RunPromise(Promised):
    """What was promised of a run with a target."""

    target: float
    confidence: float
    compared: int | None = Field(None, description="Settings that it was chosen among; null: not stored.")
    budget_us: int | None
    deadline: str | None
    front: list[OtherSetting] = Field(description="What other accuracies take, the cheapest first.")
    outcome: Kept | None = Field(description="Null until the run has finished.")


@dataclass(frozen=True, kw_only=True)
class ShownRun(RunSummary):
    """A run with its figures, as `annealq runs show RUN --json` prints it."""

    tags: list[str]
    provisional: bool  # a later round of reads may change its results
    rounds: list[RoundUse]
    read_again: ReadAgain | None  # None: all its images are read once
    decided: int
    tied: int
    undecided: int
    missing: int
    accuracy: float | None
    promise: RunPromise | None
    window_opens_at: datetime | None
    window_closes_at: datetime | None
    qpus: list[QpuUse]
    reservations: list[str]  # what speaks against relying on its results
    waits: str | None  # why it does not continue, if it will without a user
    outage: Outage | None
    intake: IntakeProgress | None  # None: all of its images are there
    links: RunLinks


class RunPage(BaseModel):
    """Runs, and the path of the following page."""

    runs: list[ListedRun]
    next: str | None = Field(description="The path of the following page; null on the last one.")


class SubmittedRun(BaseModel):
    """A run that was enqueued, or that the same request has enqueued before."""

    run_id: int
    state: RunState
    created: bool
    notes: list[str] = Field(
        description="What was changed or left out when the images were read: turned from colour to grey, "
        "resized, ..."
    )
    links: RunLinks


class RunStateNow(BaseModel):
    """A run and the state that it has now."""

    run_id: int
    state: RunState


class CancelledRun(RunStateNow):
    """A cancelled run, what it was charged, and what it may still be charged."""

    charged_us: float = Field(description="QPU time charged so far, microseconds.")
    in_flight: int = Field(description="Problems that were submitted and not answered.")
    in_flight_us: int = Field(description="What those are charged unless they can be withdrawn.")


class ResumedRun(BaseModel):
    """A run that continues."""

    run_id: int
    batches_left: int


class ResultRow(BaseModel):
    """A classified image. Most values are null where the solver or the run does not have them."""

    image: int = Field(description="Its index within the run.")
    source: str | None = Field(description="The name of its file.")
    label: int | None
    true_class: str | None
    predicted: int | None = Field(description="Null if it is undecided.")
    predicted_class: str | None
    status: Literal["decided", "tied", "undecided"]
    provisional: bool = Field(description="A later round of reads may change this result.")
    reads: int = Field(description="Reads behind it, of all rounds.")
    probability: float | None = Field(description="Calibrated probability of the class.")
    energy_gap: float | None = Field(description="Energy to the best other class.")
    class_set: list[str] | None = Field(
        description="Classes that hold the right one with the run's confidence; null without one."
    )
    set_size: int | None
    guarantee_void: str | None = Field(description="Why the guarantee of the set does not hold, if known.")
    margin: float = Field(description="The best score minus the second best.")
    one_hot_fraction: float
    chain_break_fraction: float | None
    lowest_energy: float
    qpu: str | None
    graph_id: str | None
    scores: list[float] = Field(description="One score from 0 to 1 for each class, in the network's order.")
    probabilities: list[float] | None = Field(
        description="Calibrated probability of each class, computed classically from the network's own "
        "scores, not from reads; null if an earlier version scored the image."
    )


class ResultPage(BaseModel):
    """Classified images of a run in order, up to the first whose result may still change."""

    run_id: int
    state: RunState
    classes: list[str]
    results: list[ResultRow]
    complete: bool = Field(description="There are no more.")
    provisional: bool = Field(description="A later round of reads may change these results.")
    next: str | None = Field(description="The path of the following page; null when it is complete.")


class ShownImage(BaseModel):
    """An image of a run. ``result`` is null until it is scored."""

    run_id: int
    image: int
    shape: list[int] = Field(description="Height and width, and 3 for colour; or the values of a vector.")
    height: int | None = Field(description="Pixels; null for vectors.")
    width: int | None
    pixels: list[Any] = Field(
        description="Rows of pixels, as the network takes them: each a number, or red, green and blue; of a "
        "vector its values."
    )
    label: int | None
    result: ResultRow | None

    @classmethod
    def of(
        cls,
        run: int,
        image: int,
        pixels: NDArray[np.generic],
        label: int | None,
        result: dict[str, Any] | None,
    ) -> ShownImage:
        """Return the ``image`` of ``run`` with these ``pixels``, ``label`` and ``result``."""
        height, width = pixels.shape[:2] if pixels.ndim > 1 else (None, None)
        return cls(
            run_id=run,
            image=image,
            shape=list(pixels.shape),
            height=height,
            width=width,
            pixels=pixels.tolist(),
            label=label,
            result=None if result is None else ResultRow(**result),
        )


class ImageReads(BaseModel):
    """The first of the stored reads of an image."""

    run_id: int
    image: int
    reads: int = Field(description="All that are stored.")
    variables: int = Field(description="Bits of a read.")
    bits: list[str] = Field(description="For each read, a 0 or 1 for each variable.")
    energies: list[float]
    occurrences: list[int] | None = Field(description="How often the solver saw each; null: once.")


class AwaitedSampleSet(BaseModel):
    """A sample set that a worker computes."""

    run_id: int
    has_worker: bool = Field(description="Whether a worker is alive.")


@dataclass(frozen=True, kw_only=True)
class ProgressEvent(ImageProgress):
    """The data of an event `progress` or `end`."""

    run_id: int
