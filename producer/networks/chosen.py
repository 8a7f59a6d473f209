"""The network that a run, a training or a calibration is prepared for."""

from __future__ import annotations

from dataclasses import dataclass, field

from producer.networks.description import Description


@dataclass(frozen=True)
class ChosenNetwork:
    """What a producer needs to know of a network.

    Attributes:
        id: of its row; 0 before it has one.
        height, width: of its images, pixels.
        image_max: largest pixel value.
        version: 0 before it has a row.
        reason: why it was chosen, for its user.
    """

    id: int
    name: str
    height: int
    width: int
    image_max: int
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
        image, name = description.architecture.input, description.architecture.name
        return cls(0, name, image.height, image.width, image.image_max, description.classes)
