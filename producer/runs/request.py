"""A request to classify, as data: what `classify` was asked for, or what a schedule asks for every night."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from schema.calendar.run_hours import Hours
from schema.calendar.windows import Windows, find_zone
from schema.errors import ParameterError
from schema.parameters import Parameters, Solver, solver

if TYPE_CHECKING:
    from producer.images.imageset import ImageSet
    from producer.runs.enqueue import RunOptions

_NAMED = ("digits", "sklearn:digits")


@dataclass(frozen=True)
class ClassificationRequest:
    """Images by where they are, and how to classify them.

    data, labels: as for `producer.images.source.read_images`. classes: the only labels to take. asked:
    parameters by name; the others come from a calibration, if ``calibrated``. batch_size: None: the solver's
    default. windows, zone, deadline: as they were written; see `schema.calendar.windows`.
    """

    data: str
    labels: str | None = None
    classes: tuple[str, ...] | None = None
    limit: int | None = None
    network: str | None = None
    solver: Solver = Solver.LOCAL
    asked: Mapping[str, Any] = field(default_factory=dict)
    calibrated: bool = True
    batch_size: int | None = None
    priority: int = 0
    budget_us: int | None = None
    windows: tuple[str, ...] = ()
    zone: str | None = None
    deadline: str | None = None

    def __post_init__(self) -> None:
        """Raises ParameterError naming what cannot be asked for."""
        Parameters.from_dict(self.asked).check_for(self.solver)
        if not self.windows and self.deadline is None:
            return
        find_zone(self._zone)
        if self.windows:
            Windows.parse(self.windows, self._zone)

    @property
    def _zone(self) -> str:
        return self.zone or "UTC"

    def read(self) -> ImageSet:
        """The images; raises ImageError where they cannot be used."""
        from producer.images.source import read_images

        images = read_images(self.data, self.labels)
        if self.classes is not None:
            images = images.only(list(self.classes))
        return images if self.limit is None else images.limit(self.limit)

    def hours(self, now: datetime, *, again: bool = False) -> Hours:
        """When the run may work, if it is enqueued now; raises ParameterError where its deadline is over.

        again: the run may be there already; see `Hours.written`.
        """
        return Hours.written(self.windows, self._zone, self.deadline, now, again=again)

    def options(self, now: datetime, key: str | None = None) -> RunOptions:
        """How its run is to be worked on."""
        from producer.runs.enqueue import RunOptions

        return RunOptions(
            batch_size=self.batch_size,
            priority=self.priority,
            key=key,
            budget_us=self.budget_us,
            hours=self.hours(now, again=key is not None),
        )

    def from_anywhere(self) -> ClassificationRequest:
        """The same for a process in another folder: with absolute paths."""
        data = self.data if self.data in _NAMED else str(Path.cwd() / self.data)
        labels = None if self.labels is None else str(Path.cwd() / self.labels)
        return replace(self, data=data, labels=labels)

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON; what was not asked for is left out."""
        return {name: value for name, value in asdict(self).items() if value not in (None, (), {})}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read back what `to_dict` wrote; raises ParameterError for what this version does not know."""
        if unknown := set(values) - {one.name for one in fields(cls)}:
            raise ParameterError(f"unknown {min(unknown)!r} in a request: a newer annealq has written it")
        lists = {name: tuple(values[name]) for name in ("classes", "windows") if name in values}
        return cls(**{**values, **lists, "solver": solver(values.get("solver", Solver.LOCAL))})
