"""What problems were charged, by a solver's properties.

The charge is the QPU access time divided by the solver's ``quota_conversion_rate``, as D-Wave documents that
property; it is 1 for QPUs. Charges are in steps of 0.1 us.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def charge_us(timing: Mapping[str, float], properties: Mapping[str, Any]) -> float | None:
    """Return the charge of an answer with the ``timing`` that a solver with ``properties`` has stated.

    Returns:
        Microseconds; None if no charge is stated.
    """
    access_us = timing.get("qpu_access_time", -1.0)
    return round(access_us / conversion_rate(properties), 1) if access_us >= 0 else None


def conversion_rate(properties: Mapping[str, Any]) -> float:
    """Return the QPU time for which a solver with ``properties`` charges one unit of time."""
    rate = number(properties.get("quota_conversion_rate"))
    return rate if rate is not None and rate > 0 else 1.0


def number(value: Any) -> float | None:
    """Return ``value`` if it is a finite number; None for anything else."""
    return float(value) if type(value) in (int, float) and math.isfinite(value) else None
