"""A network as a producer needs it to cut and check images."""

from __future__ import annotations

from dataclasses import dataclass

from producer.networks.description import Description


@dataclass(frozen=True)
class ChosenNetwork:
    """What a producer needs to know of a network."""

    id: int
    name: str
    height: int
    width: int
    image_max: int
    classes: tuple[str, ...]

    @classmethod
    def described(cls, description: Description, network: int = 0) -> ChosenNetwork:
        """The same for a network whose row is ``network``, or that has none yet."""
        image, name = description.architecture.input, description.architecture.name
        return cls(network, name, image.height, image.width, image.image_max, description.classes)
