"""What makes feature vectors of pictures: everything that decides about them but the pictures.

Vectors are found again by the digest of the pictures and that of the recipe.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from schema.network.backbones import PixelScale
from schema.network.layers import FrozenBackbone

VERSION = 1
"""Number of how pictures become the values that a backbone takes, and its vectors bytes: see `pixels.py`."""


@dataclass(frozen=True)
class Recipe:
    """A backbone by its file's digest, the size and scale of its pictures, and the values of a vector."""

    sha256: str
    size: int
    scale: PixelScale
    features: int
    version: int = VERSION

    @classmethod
    def of(cls, layer: FrozenBackbone) -> Recipe:
        """Return the recipe of a network whose first layer is ``layer``."""
        return cls(layer.sha256, layer.size, PixelScale(layer.mean, layer.std), layer.values)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Recipe:
        """Return the recipe that `to_dict` made ``values`` of."""
        scale = PixelScale.from_lists(values["mean"], values["std"])
        return cls(values["backbone"], values["size"], scale, values["features"], values["version"])

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "backbone": self.sha256,
            "size": self.size,
            "mean": list(self.scale.mean),
            "std": list(self.scale.std),
            "features": self.features,
            "version": self.version,
        }

    @property
    def digest(self) -> str:
        """Return the SHA-256 of all of it."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()
