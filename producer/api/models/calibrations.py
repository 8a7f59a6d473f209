"""Calibrations as the API answers with them."""

from __future__ import annotations

from pydantic import BaseModel, Field

from producer.calibration.queries import CalibrationSummary
from schema.states import CalibrationState


class SubmittedCalibration(BaseModel):
    """A calibration that was enqueued, or that exists already."""

    calibration_id: int
    state: CalibrationState
    created: bool
    notes: list[str] = Field(description="What was changed or left out when the images were read.")
    links: dict[str, str]


class CalibrationPage(BaseModel):
    """Calibrations, newest first."""

    calibrations: list[CalibrationSummary]
    next: str | None = Field(description="Path of the older ones.")
