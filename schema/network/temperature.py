"""The temperature that turns a network's own class scores into calibrated probabilities.

Softmax of scores divided by it is the probability of each class (temperature scaling: Guo et al. 2017, On
calibration of modern neural networks, arXiv 1706.04599). 1 leaves the scores as in training: for a head they
are -beta F, so the temperature of the free energies F is then 1 / beta.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from schema.errors import NetworkError
from schema.network.layers import Spec

UNFITTED = 1.0


class Temperature(Spec):
    """A fitted temperature, and the images that it was fitted on: ``held_out`` or trained on."""

    value: float = Field(ge=0.01, le=100.0)
    images: int = Field(ge=1, lt=2**63)
    held_out: bool

    def __str__(self) -> str:
        kind = "held-out" if self.held_out else "training"
        return f"temperature {self.value:.3g}, fitted on {self.images:,} {kind} images"


def fitted(metrics: Mapping[str, Any] | None) -> Temperature | None:
    """Return the temperature in the ``metrics`` of a network, or None if none was fitted or it is invalid."""
    try:
        return Temperature.from_dict((metrics or {}).get("temperature"))
    except NetworkError:
        return None


def temperature_of(metrics: Mapping[str, Any] | None) -> float:
    """Return the temperature in the ``metrics`` of a network; 1 if none was fitted."""
    found = fitted(metrics)
    return UNFITTED if found is None else found.value


def describe(metrics: Mapping[str, Any] | None) -> str:
    """Return which temperature the probabilities of a network with ``metrics`` use, for display."""
    return str(fitted(metrics) or "temperature 1, not fitted")
