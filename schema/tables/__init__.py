"""The tables. SQL is the truth: every unit of work is a row with a state."""

from __future__ import annotations

from schema.tables.api import ApiKey, Delivery, Owner, PageSession, RunSubmission
from schema.tables.backbones import (
    Backbone,
    BackboneFile,
    BatchFeatures,
    FeaturePart,
    FeatureSet,
    NetworkFeatures,
)
from schema.tables.blobs import BatchImages, Rendering, SampleSet, TrainingSet
from schema.tables.calibrations import Calibration, CalibrationPlan
from schema.tables.columns import Base
from schema.tables.embeddings import Chip, Embedding, Preparation
from schema.tables.processes import Leader, Worker
from schema.tables.runs import (
    REVISION,
    Batch,
    Breaker,
    Classification,
    Event,
    Intake,
    Ledger,
    Network,
    Problem,
    Run,
    RunTag,
    Spending,
)
from schema.tables.schedules import Firing, Schedule

__all__ = [
    "REVISION",
    "ApiKey",
    "Backbone",
    "BackboneFile",
    "Base",
    "Batch",
    "BatchFeatures",
    "BatchImages",
    "Breaker",
    "Calibration",
    "CalibrationPlan",
    "Chip",
    "Classification",
    "Delivery",
    "Embedding",
    "Event",
    "FeaturePart",
    "FeatureSet",
    "Firing",
    "Intake",
    "Leader",
    "Ledger",
    "Network",
    "NetworkFeatures",
    "Owner",
    "PageSession",
    "Preparation",
    "Problem",
    "Rendering",
    "Run",
    "RunSubmission",
    "RunTag",
    "SampleSet",
    "Schedule",
    "Spending",
    "TrainingSet",
    "Worker",
]
