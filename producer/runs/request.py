"""What a user asks of a run: one checked request, whoever makes it.

The options of `annealq classify` and the fields of POST /v1/runs are made from these fields and those of
`schema.parameters.Parameters`, with their limits and descriptions; a schedule stores the request as a
dictionary; `producer.jobs.submit` makes a run of it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, field, fields, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import BeforeValidator, Field, InstanceOf
from pydantic.dataclasses import dataclass

from producer.images.preprocessing import Fit, Preprocessing, ReadAs
from schema.calendar.run_hours import ALWAYS_OPEN, RunHours
from schema.calendar.windows import MAX_WINDOWS, Windows, find_zone
from schema.errors import ParameterError
from schema.parameters import AUTO, MAX_BATCH_SIZE, Parameters, Solver, Validated, fields_of, solver

if TYPE_CHECKING:
    from producer.images.imageset import ImageSet
    from producer.images.pieces.allowance import Allowance
    from schema.network.layers import Input

MAX_NAME = 200  # characters, of a QPU
MAX_BUDGET_US = 10**15  # 31 years
_OPTIONS = {"read_as": "--as"}  # of parameters whose name is a word of Python
_LISTS = ("classes", "windows", "tags", "prices")
_NAMED = ("digits", "sklearn:digits")
# Options whose fields have other names or types.
_CONVERTED: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "budget_s": ("budget_us", lambda seconds: math.ceil(seconds * 1e6)),
    "calibration": ("calibrated", bool),
    "classes": ("classes", lambda names: tuple(names.split(","))),
    "window": ("windows", lambda hours: (hours,) if isinstance(hours, str) else tuple(hours)),
    "tz": ("zone", str),
    **{name: (name, tuple) for name in ("tags", "prices")},
}


def read_share(value: Any) -> Any:
    """Return the share that the text ``value`` writes as a percentage or a number; other values unchanged."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    try:
        return round(float(text[:-1]) / 100, 12) if text.endswith("%") else float(text)
    except ValueError:
        raise ParameterError(f"the target is {value[:50]!r}: write 99% or 0.99") from None


BatchSize = Annotated[
    int | None,
    Field(
        ge=1,
        le=MAX_BATCH_SIZE,
        title="number of images",
        description="Images that one worker takes at a time; default: 100, and for solvers with qubits as "
        "many whole problems as come nearest to 1,000, eight at least, once an embedding is known.",
    ),
]
Resize = Annotated[
    str | None,
    Field(
        min_length=1,
        max_length=20,
        description="Resize each image to HEIGHT or HEIGHTxWIDTH pixels, as in 28 or 28x32.",
    ),
]
Chosen = Annotated[
    Fit,
    Field(
        strict=False,
        description="With resize, what happens to images of other proportions: crop cuts both ends of the "
        "longer side, pad adds black, stretch distorts.",
    ),
]
ArrayKind = Annotated[
    ReadAs | None,
    Field(
        strict=False,
        description="What an array of numbers is, where its shape leaves a choice: images, (N, H, W) or "
        "(N, H, W, 3); picture, one of them; vectors, (N, D).",
    ),
]
Invert = Annotated[
    bool, Field(description="Make dark bright and bright dark, for networks trained on the opposite.")
]
SkipUnreadable = Annotated[
    bool, Field(description="Leave out pictures of a folder that cannot be read, instead of refusing it.")
]
ScalePixels = Annotated[
    bool, Field(description="Scale pixels from 0..255 to the range that the network takes.")
]
Tag = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,63}$", title="tag")]
Tags = Annotated[
    tuple[Tag, ...],
    Field(
        max_length=20,
        title="tags",
        description="Words by which runs are found again: letters, digits and . _ : / - in each.",
    ),
]
Priority = Annotated[int, Field(ge=-1000, le=1000, description="Runs of higher priority go first.")]
Target = Annotated[
    float | None,
    Field(
        gt=0,
        le=1,
        title="accuracy",
        description="Accuracy that the run must reach, 99% or 0.99: QPU, visible units, reads, rule and the "
        "like are chosen from calibrations, as cheaply as it can be promised within budget and deadline.",
    ),
    BeforeValidator(read_share),
]
Prices = Annotated[
    tuple[str, ...],
    Field(
        max_length=20,
        title="prices",
        description="With a target: the price of a minute of QPU time, 30, or of that of one QPU, NAME=45. "
        "The cheapest setting is then that of the lowest price.",
    ),
]
Budget = Annotated[int | None, Field(ge=1, le=MAX_BUDGET_US, title="QPU time in microseconds")]


def read_prices(prices: Sequence[str]) -> dict[str, float]:
    """Return the ``prices`` of a minute of QPU time by the name of a QPU; empty name: of all others.

    Raises:
        ParameterError: one is not a price.
    """
    read = {}
    for text in prices:
        name, _, number = text.rpartition("=")
        if not re.fullmatch(r"\d{1,9}(\.\d{1,6})?", number) or len(name) > MAX_NAME:
            raise ParameterError(f"price per minute is {text[:50]!r}: write 30, or NAME=45 for one QPU")
        read[name] = float(number)
    return read


def option_name(parameter: str) -> str:
    """Return the command-line option for ``parameter``: `--annealing-time` for `annealing_time_us`."""
    return _OPTIONS.get(parameter) or "--" + parameter.removesuffix("_us").replace("_", "-")


@dataclass(frozen=True)
class RunOptions(Validated):
    """How a run is worked on; nothing here changes a result.

    Attributes:
        key: idempotency key; the same key is the same run.
        calibrated_by: id of the calibration that the parameters come from.
        reads_reason: why the run has this number of reads and these rounds, if they were chosen for it.
        hours: when the run may work.
        promise: what was promised of its parameters; see `producer.forecasts.promise`.
        submission: columns of the run's row of `submissions`. Its `request` is what was asked besides the
            content, which a repeated request must ask again.
    """

    batch_size: BatchSize = None
    priority: Priority = 0
    key: Annotated[str | None, Field(min_length=1, max_length=255, title="idempotency key")] = None
    calibrated_by: int | None = None
    reads_reason: str | None = None
    budget_us: Budget = None
    hours: InstanceOf[RunHours] = ALWAYS_OPEN
    tags: Tags = ()
    promise: Mapping[str, Any] | None = None
    submission: Mapping[str, Any] | None = None

    def columns(self) -> dict[str, Any]:
        """Return the columns of the row of a run that it is worked on by."""
        return {
            "priority": self.priority,
            "idempotency_key": self.key,
            "calibrated_by": self.calibrated_by,
            "reads_reason": self.reads_reason,
            "promise": None if self.promise is None else dict(self.promise),
            "budget_us": self.budget_us,
            "window": None if self.hours.windows is None else self.hours.windows.to_dict(),
            "deadline_at": self.hours.deadline_at,
        }


@dataclass(frozen=True, kw_only=True)
class RunRequest(Validated):
    """How to classify images, wherever they come from.

    Attributes:
        classes: the only labels to take.
        asked: the sampling parameters that were given, by name; a calibration completes them, if
            ``calibrated``, else their defaults.
        windows, zone, deadline: as the user wrote them; see `schema.calendar.windows`.
    """

    network: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=200,
            description="NAME or NAME@VERSION; default: that of this image size.",
        ),
    ] = None
    solver: Annotated[Solver, Field(strict=False)] = Solver.LOCAL
    classes: tuple[str, ...] | None = None
    limit: Annotated[int | None, Field(ge=1, le=10**9, description="Only the first N images.")] = None
    read_as: ArrayKind = None
    resize: Resize = None
    fit: Chosen = Fit.CROP
    invert: Invert = False
    skip_unreadable: SkipUnreadable = False
    scale_pixels: ScalePixels = False
    asked: Mapping[str, Any] = field(default_factory=dict)
    target: Target = None
    prices: Prices = ()
    calibrated: bool = True
    batch_size: BatchSize = None
    priority: Priority = 0
    tags: Tags = ()
    budget_us: Budget = None
    windows: Annotated[tuple[str, ...], Field(max_length=MAX_WINDOWS)] = ()
    zone: str | None = None
    deadline: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=200,
            description="2026-12-01T06:00, or 06:00 for the next one: nothing is submitted after it, and a "
            "run that is not done by then has failed for good; what was scored stays.",
        ),
    ] = None

    def __post_init__(self) -> None:
        """Raise ParameterError for what does not go together."""
        _ = self.preprocessing
        Parameters.from_dict(self.given).check_for(self.solver)
        if self.chooses_reads and "rounds" in self.asked:
            raise ParameterError(
                "reads auto chooses the rounds, too: leave out rounds, or give a number of reads"
            )
        if self.target is not None and not self.calibrated:
            raise ParameterError("a target needs calibrations: leave it out, or let calibrations be used")
        read_prices(self.prices)
        if self.prices and self.target is None:
            raise ParameterError(
                f"price per minute {self.prices[0]!r} counts only with a target: add one, or leave it out"
            )
        if self.is_timed:
            find_zone(self._zone)
            if self.windows:
                Windows.parse(self.windows, self._zone)
        elif self.zone is not None:
            raise ParameterError(f"tz {self.zone} applies to window and deadline, but neither is given")

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """Return the request of ``options``, named as in POST /v1/runs; None: not given."""
        given = {name: value for name, value in options.items() if value is not None}
        asked = {name: given.pop(name) for name in fields_of(Parameters) if name in given}
        converted = [(_CONVERTED.get(name, (name, lambda same: same)), v) for name, v in given.items()]
        values = {name: convert(value) for (name, convert), value in converted}
        if unknown := values.keys() - fields_of(cls).keys():
            raise ParameterError(f"unknown option {min(unknown)!r}: `annealq classify --help` lists them")
        return cls(**values, asked=asked)

    @property
    def chooses_reads(self) -> bool:
        """Return whether the request leaves the number of reads to annealq: reads auto."""
        return bool(self.asked.get("reads") == AUTO)

    @property
    def given(self) -> dict[str, Any]:
        """Return the sampling parameters that were given as values."""
        return {name: value for name, value in self.asked.items() if value != AUTO or name != "reads"}

    @property
    def preprocessing(self) -> Preprocessing:
        """Return what is done to each image; raise ParameterError if ``resize`` is not a size."""
        return Preprocessing.parse(self.resize, self.fit, self.invert, self.skip_unreadable, self.read_as)

    @property
    def is_timed(self) -> bool:
        """Return whether the run may work only at some times."""
        return bool(self.windows) or self.deadline is not None

    @property
    def _zone(self) -> str:
        return self.zone or "UTC"

    def in_zone(self, zone: str) -> Self:
        """Return the request with ``zone`` for its windows and deadline, if it names no other."""
        return replace(self, zone=zone) if self.is_timed and self.zone is None else self

    def select(self, images: ImageSet) -> ImageSet:
        """Return those of ``images`` that the request is about: the classes, then the limit."""
        if self.classes is not None:
            images = images.only(list(self.classes))
        if self.scale_pixels:
            images = images.scalable()
        return images if self.limit is None else images.limit(self.limit)

    def besides_content(self) -> dict[str, Any]:
        """Return what is asked besides images, network and parameters, as it was written, for JSON."""
        asked = {
            "priority": self.priority or None,
            "tags": sorted(set(self.tags)) or None,
            "batch_size": self.batch_size,
            "budget_s": None if self.budget_us is None else self.budget_us / 1e6,
            "window": list(self.windows) or None,
            "tz": self.zone,
            "deadline": self.deadline,
            "target": self.target,
        }
        return {name: value for name, value in asked.items() if value is not None}

    def options(self, now: datetime, key: str | None = None, calibrated_by: int | None = None) -> RunOptions:
        """Return how the run is worked on if it is enqueued ``now``, with ``key`` and ``calibrated_by``.

        Raises:
            ParameterError: the deadline has passed, for a key that cannot belong to an earlier run.
        """
        hours = RunHours.parse(self.windows, self._zone, self.deadline, now, again=key is not None)
        return RunOptions(
            batch_size=self.batch_size,
            priority=self.priority,
            key=key,
            calibrated_by=calibrated_by,
            budget_us=self.budget_us,
            hours=hours,
            tags=self.tags,
        )


@dataclass(frozen=True)
class ClassificationRequest(RunRequest):
    """Images by where they are, and how to classify them.

    Attributes:
        data, labels: as for `producer.images.source.read_images`.
        name: of the run, instead of that of the data.
    """

    data: str
    labels: str | None = None
    name: Annotated[
        str | None,
        Field(min_length=1, max_length=200, description="Name of the run; default: that of its data."),
    ] = None
    by_reference: Annotated[
        bool,
        Field(
            description="Batches name the rows of .npy and Parquet files, which workers read, instead of "
            "holding their images; see the setting reference_folders."
        ),
    ] = False

    def read(
        self, allowance: Allowance | None = None, takes: Callable[[bool], Input | None] | None = None
    ) -> ImageSet:
        """Return the images, within ``allowance``; raise ImageError where they cannot be used.

        ``takes`` is that of `producer.images.source.read_images`.
        """
        from producer.images.source import read_images

        read = read_images(self.data, self.labels, self.preprocessing, allowance=allowance, takes=takes)
        images = self.select(read)
        return images if self.name is None else replace(images, name=self.name)

    def besides_content(self) -> dict[str, Any]:
        """Return what `RunRequest.besides_content` does, and the name that was given."""
        return super().besides_content() | ({} if self.name is None else {"name": self.name})

    def from_anywhere(self) -> ClassificationRequest:
        """Return the same request for a process in another folder: with absolute paths."""
        is_path = self.data not in _NAMED and "://" not in self.data
        data = str(Path.cwd() / self.data) if is_path else self.data
        labels = None if self.labels is None else str(Path.cwd() / self.labels)
        return replace(self, data=data, labels=labels)

    def to_dict(self) -> dict[str, Any]:
        """Return the request ready for JSON, without what was not asked for."""
        return {name: value for name, value in asdict(self).items() if value not in (None, (), {})}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return what `to_dict` made ``values`` of; raise ParameterError for an unknown name."""
        if unknown := set(values) - {field.name for field in fields(cls)}:
            raise ParameterError(f"unknown {min(unknown)!r} in a request: a newer annealq has written it")
        lists = {name: tuple(values[name]) for name in _LISTS if name in values}
        return cls(**{**values, **lists, "solver": solver(values.get("solver", Solver.LOCAL))})
