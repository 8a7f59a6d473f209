"""Chooses the parameters of a calibration from the raw samples of its runs."""

from __future__ import annotations

from dataclasses import asdict, replace

from schema.tables import Calibration
from worker.compute import calibration as compute_calibration
from worker.context import Context
from worker.pipeline import controls
from worker.pipeline.attempt import attempt, claim, load_network, writing
from worker.pipeline.features.inputs import load_inputs
from worker.records import batches, calibrations


def calibrate_network(context: Context, calibration: int) -> None:
    """Claim ``calibration`` in ``context``, if its runs are finished, and store the best parameters."""
    claimed = claim(context, Calibration, calibration, calibrations.load)
    if claimed is None:
        return
    lease, job = claimed

    def load(batch: int) -> tuple[batches.BatchInput, list[batches.StoredReads]]:
        layers = load_network(context, job.network).architecture
        with context.database.reading() as session:
            batch_input = load_inputs(session, context.backbones, batch, layers)
            return batch_input, batches.load_samples(session, batch)

    with attempt(context, lease):
        fitted = compute_calibration.calibrate(load_network(context, job.network), job, load)
        most = context.settings.control_images
        if job.solver.is_remote and most:
            row, _ = fitted.measured["chosen"]
            computed = controls.compute(context, job.candidates[row].batches, most, fitted.parameters)
            fitted = replace(fitted, measured={**fitted.measured, "controls": asdict(computed)})
        with writing(context, lease) as (session, now):
            calibrations.store(session, calibration, fitted, now=now)
