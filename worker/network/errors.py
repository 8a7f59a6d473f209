"""Errors of h and J in training: fractions of the largest values, and absolute errors of a chip."""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass

import torch
from torch import Tensor

from schema.network.layers import Training

# A network is scaled by one factor, so that its largest |h| or |J| fills a chip's range, [-4, 4] or [-1, 1].
# J may go down to -2 on some chips, but the penalty of two class units is positive.
_RANGE_OF_H, _RANGE_OF_J = 4.0, 1.0


@dataclass(frozen=True)
class Errors:
    """Standard deviations of Gaussian errors of h and J.

    Attributes:
        share: as a fraction of the network's largest |h| and |J|; drawn for each image (h) or batch (J).
        h_persistent: in units of h on a chip, drawn for each batch.
        h_random: in units of h on a chip, drawn for each image.
        j_persistent: in units of J on a chip, drawn for each batch.
    """

    share: float = 0.0
    h_persistent: float = 0.0
    h_random: float = 0.0
    j_persistent: float = 0.0

    @classmethod
    def of(cls, training: Training) -> Errors | None:
        """Return the errors that ``training`` asks for; None: it asks for none."""
        errors = cls(training.noise, training.h_persistent, training.h_random, training.j_persistent)
        return errors if any(astuple(errors)) else None

    def scaled(self, max_h: float, max_j: float) -> ScaledErrors:
        """Return the errors in the units of a network with the largest |h| ``max_h`` and |J| ``max_j``."""
        unit = max(max_h / _RANGE_OF_H, max_j / _RANGE_OF_J)
        return ScaledErrors(
            unit * self.h_persistent,
            math.hypot(self.share * max_h, unit * self.h_random),
            math.hypot(self.share * max_j, unit * self.j_persistent),
        )


@dataclass(frozen=True)
class ScaledErrors:
    """Standard deviations of errors in a network's own units, for h and J of the SPIN form."""

    h_persistent: float
    h_random: float
    j: float

    def draw_h(self, device: torch.device, images: int, *units: int) -> Tensor:
        """Return errors (images, *units) of h: a part of each image, and a part that all images share."""
        errors = self.h_random * torch.randn(images, *units, device=device)
        if not self.h_persistent:
            return errors
        return errors + self.h_persistent * torch.randn(units, device=device)

    def draw_j(self, couplings: Tensor) -> Tensor:
        """Return errors of J, in the shape and memory layout of ``couplings``, that all images share."""
        return self.j * torch.randn_like(couplings)
