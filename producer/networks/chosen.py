"""The network that a run, a training or a calibration is prepared for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from producer.networks.description import Description
from schema.errors import ParameterError
from schema.network.layers import Input, read_input
from schema.shapes import ImageShape
from schema.tables import Network


@dataclass(frozen=True)
class ChosenNetwork:
    """What a producer needs to know of a network.

    Attributes:
        id: of its row; 0 before it has one.
        takes: the images that it takes.
        version: 0 before it has a row.
        reason: why it was chosen, for its user.
        sources: for each of its sources by name, the share of training images that did without it.
    """

    id: int
    name: str
    takes: Input
    classes: tuple[str, ...]
    version: int = 0
    reason: str = field(default="", compare=False)
    sources: Mapping[str, float] = field(default_factory=dict, compare=False)

    @property
    def pinned(self) -> str:
        """Return `NAME@VERSION`, which stays this network."""
        return f"{self.name}@{self.version}"

    @classmethod
    def described(cls, description: Description) -> ChosenNetwork:
        """Return the network of ``description``, which has no row."""
        architecture = description.architecture
        dropouts = {source.name: source.dropout for source in architecture.source}
        return cls(0, architecture.name, architecture.input, description.classes, sources=dropouts)

    @classmethod
    def of_row(cls, row: Network, reason: str = "") -> ChosenNetwork:
        """Return the network in ``row``, which was chosen for this ``reason``."""
        return cls(
            id=row.id,
            name=row.name,
            takes=read_input(row.architecture["input"]),
            classes=tuple(row.classes),
            version=row.version,
            reason=reason,
            sources={each["name"]: each["dropout"] for each in row.architecture.get("source", [])},
        )

    def refuse_without(self, without: Sequence[str] | None) -> None:
        """Raise ParameterError unless it can do ``without`` these of its sources."""
        if not without:
            return
        if unknown := [name for name in without if name not in self.sources]:
            has = f"it has {', '.join(self.sources)}" if self.sources else "it has no sources: leave it out"
            raise ParameterError(f"without {unknown[0]!r}: network {self.name!r} has no such source: {has}")
        if bound := [name for name in without if self.sources[name] <= 0]:
            raise ParameterError(
                f"network {self.name!r} was trained with source {bound[0]!r} in every image: without it the "
                "classes would be a guess. Write `dropout = 0.2` in its [[source]], and train again"
            )
        if len(without) == len(self.sources):
            raise ParameterError(
                f"without {', '.join(without)} network {self.name!r} has no source left: name fewer"
            )

    @property
    def shape(self) -> ImageShape:
        """Return the shape of its images."""
        return self.takes.image_shape
