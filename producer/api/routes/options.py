"""What may be said of a run over HTTP: the names of `annealq classify`, with units where there are any."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from producer.api.core.errors import describe
from producer.runs.batch_size import MAX_BATCH_SIZE
from producer.runs.enqueue import MAX_BUDGET_US
from schema.calendar.run_hours import ALWAYS, Hours
from schema.calendar.windows import EXAMPLES, MAX_WINDOWS, find_zone
from schema.errors import ParameterError
from schema.parameters import MAX_QPU, MAX_READS, MAX_SWEEPS, MAX_TILES, Parameters, Rule, Solver
from schema.parameters import Unembedding as Chains
from schema.parameters import Visible as Units

_NAMES = frozenset(Parameters.__dataclass_fields__)
# As text in a form, these are JSON.
_STRUCTURED = ("anneal_schedule", "webhook")


def _plain(text: str) -> str:
    if not text.isprintable():
        raise ValueError("only printable characters can be used")
    return text


Text = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_plain)]
LongText = Annotated[str, Field(min_length=1, max_length=2_000), AfterValidator(_plain)]


class Webhook(BaseModel):
    """Whom to tell that a run is at its end. secret: what it is signed with; default: the key's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: LongText
    secret: Annotated[str, Field(min_length=16, max_length=128), AfterValidator(_plain)] | None = None


class RunBodyOptions(BaseModel):
    """How to classify; `schema.parameters` says what each parameter means."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    network: Text | None = Field(None, description="NAME or NAME@VERSION; default: the newest for this size.")
    solver: Solver = Solver.LOCAL
    reads: int | None = Field(None, ge=1, le=MAX_READS, description="Anneals for each image; default: 100.")
    name: Text | None = Field(None, description="The run's name, for people.")
    priority: int = Field(0, ge=-1000, le=1000, description="Runs of higher priority go first.")
    budget_s: float | None = Field(
        None, gt=0, le=MAX_BUDGET_US / 1e6, description="QPU seconds that the run may be charged."
    )
    window: Text | Annotated[list[Text], Field(min_length=1, max_length=MAX_WINDOWS)] | None = Field(
        None,
        description=f"Hours in which the run may work: {EXAMPLES}; one, or a list. In a form, the field may "
        "come several times. Outside of them the run is paused, and it goes on by itself.",
    )
    tz: Text | None = Field(
        None, description="Time zone of window and deadline, Europe/London say; default: UTC."
    )
    deadline: Text | None = Field(
        None,
        description="2026-12-01T06:00, or 06:00 for the next one: afterwards nothing is sent any more, and a "
        "run that is not done has failed, for good.",
    )
    batch_size: int | None = Field(
        None,
        ge=1,
        le=MAX_BATCH_SIZE,
        description="Images in a batch; default: 100, and of a "
        "solver with qubits as many whole problems as come nearest to 1,000, eight at least.",
    )
    limit: int | None = Field(None, ge=1, le=10**9, description="Only the first so many images.")
    classes: LongText | None = Field(None, description="Only images with these labels: 0,1,7 or names.")
    calibration: bool = Field(True, description="Take what is not given from the newest calibration.")
    seed: int | None = Field(None, ge=0, lt=2**63)
    visible: Units | None = None
    rule: Rule | None = None
    fraction: float | None = Field(None, gt=0, le=1)
    beta: float | None = Field(None, gt=0)
    sweeps: int | None = Field(None, ge=1, le=MAX_SWEEPS)
    lam: float | None = Field(None, ge=0)
    noise: float | None = Field(None, ge=0, le=1)
    qpu: Annotated[str, Field(min_length=1, max_length=MAX_QPU), AfterValidator(_plain)] | None = None
    tiles: int | None = Field(None, ge=1, le=MAX_TILES)
    chain_strength: float | None = Field(None, gt=0)
    scale: float | None = Field(None, gt=0)
    annealing_time_us: float | None = Field(None, gt=0)
    anneal_schedule: list[tuple[float, float]] | None = Field(None, description="Points [microseconds, s].")
    unembedding: Chains | None = None
    webhook: Webhook | None = None
    uri: LongText | None = Field(None, description="A file below the operator's folders, instead of images.")
    part: Text | None = Field(None, description="Of an .npz with several sets of images: which.")

    def asked(self) -> dict[str, Any]:
        """The parameters that were given, by name.

        Raises:
            ParameterError: one is out of range, or the solver does not have it.
        """
        given = self.model_dump(include=set(_NAMES), exclude_none=True)
        Parameters.from_dict(given).check_for(self.solver)
        return given

    @property
    def windows(self) -> tuple[str, ...]:
        """As they were written."""
        if self.window is None:
            return ()
        return (self.window,) if isinstance(self.window, str) else tuple(self.window)

    @property
    def is_timed(self) -> bool:
        """Whether the run may work at some times only."""
        return self.window is not None or self.deadline is not None

    def hours(self, now: datetime, *, again: bool) -> Hours:
        """When the run may work, if it is enqueued ``now``.

        again: the run may be there already; see `Hours.written`.

        Raises:
            ParameterError: names the window, the zone or the deadline that cannot be used.
        """
        if not self.is_timed:
            if self.tz is not None:
                raise ParameterError(f"tz {self.tz} is of window and deadline, and neither is given")
            return ALWAYS
        zone = self.tz or "UTC"
        find_zone(zone)
        return Hours.written(self.windows, zone, self.deadline, now, again=again)

    @property
    def budget_us(self) -> int | None:
        return None if self.budget_s is None else max(math.ceil(self.budget_s * 1e6), 1)


class RunBody(RunBodyOptions):
    """The JSON body of POST /v1/runs: images as numbers, or a `uri`."""

    images: list[Any] | None = Field(
        None, description="(N, H, W): rows of pixels, 0..255 or 0..1, of at least one image."
    )
    labels: list[Any] | None = Field(None, description="A whole number for each image.")

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.images is None) == (self.uri is None):
            raise ValueError("give either `images` or a `uri`")
        return self


def from_json(body: bytes) -> RunBody:
    """Raises ParameterError: no JSON object, or fields that cannot be used, each named."""
    try:
        values = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ParameterError(f"the body is no JSON: {error}") from None
    if not isinstance(values, dict):
        raise ParameterError('the body is a JSON object: {"images": [...], "network": "digits"}')
    try:
        return RunBody.model_validate(values)
    except ValidationError as error:
        raise ParameterError(describe(error.errors())) from None


def from_form(fields: Sequence[tuple[str, str]]) -> RunBodyOptions:
    """From names and values; a window may come several times.

    Raises:
        ParameterError: fields that cannot be used, each named.
    """
    values: dict[str, Any] = dict(fields)
    if "window" in values:
        values["window"] = [value for name, value in fields if name == "window"]
    for name in _STRUCTURED:
        if name in values:
            try:
                values[name] = json.loads(values[name])
            except (ValueError, RecursionError):
                raise ParameterError(f"{name}: in a form this is JSON") from None
    try:
        return RunBodyOptions.model_validate(values)
    except ValidationError as error:
        raise ParameterError(describe(error.errors())) from None


def schemas() -> dict[str, Any]:
    """JSON schemas by name, for /openapi.json: of the JSON body, and of the form."""
    found: dict[str, Any] = {}
    for name, model in (("Request", RunBody), ("Form", RunBodyOptions)):
        schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
        found |= schema.pop("$defs", {})
        found[name] = schema
    file = {"type": "string", "format": "binary"}
    found["Form"]["properties"] |= {"images": {"type": "array", "items": file}, "labels": file}
    return found
