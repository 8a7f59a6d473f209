"""The network that a run, a training or a calibration is prepared for."""

from __future__ import annotations

from dataclasses import dataclass

from producer.networks.description import Description


@dataclass(frozen=True)
class ChosenNetwork:
    """What a producer needs to know of a network; ``id`` is that of its row, 0 before it has one."""

    id: int
    name: str
    height: int
    width: int
    image_max: int
    classes: tuple[str, ...]

    @classmethod
    def described(cls, description: Description, network: int = 0) -> ChosenNetwork:
        """Return the network of ``description`` whose row is ``network``."""
        image, name = description.architecture.input, description.architecture.name
        return cls(network, name, image.height, image.width, image.image_max, description.classes)
