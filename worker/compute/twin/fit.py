"""Fits a twin of a chip to the reads of a night."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from worker.compute.twin.drift import FieldChanges, fit_changes
from worker.compute.twin.fields import FieldErrors, fit_fields, histogram, scores
from worker.compute.twin.night import Night
from worker.compute.twin.temperature import ChipTemperature

_STEPS = 2  # of Newton's method; the second one has the temperature of the first
_EXAMINED = 50  # problems for the temperature to begin with


@dataclass(frozen=True, eq=False)
class ChipFit:
    """A chip as the reads of a night show it."""

    errors: FieldErrors
    temperature: ChipTemperature
    changes: FieldChanges


def fit_chip_errors(night: Night, report: Callable[[float], None] | None = None) -> ChipFit:
    """Return the chip that explains the reads of ``night`` best.

    Args:
        report: called with the share that is done.
    """
    errors = FieldErrors.none(night)
    temperature = histogram(night, errors, max(1, len(night.problems) // _EXAMINED)).fit()
    for step in range(_STEPS):
        errors = fit_fields(night, errors, temperature)
        temperature = histogram(night, errors).fit()
        if report is not None:
            report((step + 1) / (_STEPS + 1))
    slopes, information = scores(night, errors, temperature)
    short = night.is_short
    changes = fit_changes(slopes[:, short], information[:, short], night.lengths[short])
    return ChipFit(errors, temperature, changes)
