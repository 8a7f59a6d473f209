"""The network that a run, a training or a calibration is prepared for."""

from __future__ import annotations

from dataclasses import dataclass, field

from producer.networks.description import Description
from schema.network.layers import Input
from schema.shapes import ImageShape


@dataclass(frozen=True)
class ChosenNetwork:
    """What a producer needs to know of a network.

    Attributes:
        id: of its row; 0 before it has one.
        takes: the images that it takes.
        version: 0 before it has a row.
        reason: why it was chosen, for its user.
    """

    id: int
    name: str
    takes: Input
    classes: tuple[str, ...]
    version: int = 0
    reason: str = field(default="", compare=False)

    @property
    def pinned(self) -> str:
        """Return `NAME@VERSION`, which stays this network."""
        return f"{self.name}@{self.version}"

    @classmethod
    def described(cls, description: Description) -> ChosenNetwork:
        """Return the network of ``description``, which has no row."""
        architecture = description.architecture
        return cls(0, architecture.name, architecture.input, description.classes)

    @property
    def shape(self) -> ImageShape:
        """Return the shape of its images."""
        return self.takes.image_shape
