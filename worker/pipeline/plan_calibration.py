"""Makes the runs of a calibration: one for each setting, on as many images as its budget suffices for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from schema.codecs import arrays, image_digests
from schema.codecs.batches import BatchRow, encode_batches, run_digest
from schema.codecs.corruption import stored_in
from schema.database.crash_points import CrashPoint, reach
from schema.messages import Message, Task
from schema.parameters.batch_sizes import default_batch_size, within_bytes
from schema.shapes import ImageArray
from schema.tables import CalibrationPlan
from schema.tables.costs import charge_ratio
from worker.context import Context
from worker.network.trained import TrainedNetwork
from worker.pipeline.attempt import attempt, claim, load_network, writing
from worker.qpus.budget import SettingCost, affordable_images, draw
from worker.records import calibrations
from worker.records.calibrations import CalibrationRun, PlanJob, StoredImages


def plan_calibration(context: Context, calibration: int) -> None:
    """Claim the plan of ``calibration`` in ``context``, and enqueue its runs; no problem is submitted.

    All runs are written in the transaction that ends the plan: whatever dies before has enqueued none.
    """
    claimed = claim(context, CalibrationPlan, calibration, calibrations.load_plan)
    if claimed is None:
        return
    lease, job = claimed
    with attempt(context, lease):
        images, labels = _decode(job.offered)
        costs: list[SettingCost] = []
        if job.solver.is_remote:
            costs = _costs(context, job, load_network(context, job.network))
        count = len(images)
        if costs and job.budget_us is not None:
            count = affordable_images(costs, job.budget_us, count)
        chosen = draw(len(images), count, job.settings[0].seed)
        images, labels = images[chosen], labels[chosen]
        digests = image_digests.digests(images)
        trained_on = 0 if job.training is None else _count_shared(digests, job.training)
        runs = _runs(job, images, labels, costs)
        reach(CrashPoint.PLANNING)
        with writing(context, lease) as (session, now):
            sealed = image_digests.seal(digests)
            calibrations.store_plan(session, job, runs, sealed, trained_on=trained_on, now=now)
        reach(CrashPoint.PLANNED)
        context.hints.send([Message(Task.DISPATCH)])


def _decode(stored: StoredImages) -> tuple[ImageArray, NDArray[np.int16]]:
    """Return images and labels (N,) as they were offered; raise Corrupt."""
    with stored_in(f"training set {stored.row}", "send the same images again"):
        return arrays.decode_training_set(
            stored.images, stored.labels, stored.count, stored.shape, stored.sha256
        )


def _costs(context: Context, job: PlanJob, network: TrainedNetwork) -> list[SettingCost]:
    """Return the cost of each setting of ``job``; find the embedding of ``network`` if it is missing.

    Raises:
        Refused: the solver does not take the network, or one of the settings; nothing was charged.
        Unavailable: the solver does not answer.
    """
    from worker.remote.prepare import prepare

    def report(step: str, fraction: float) -> None:
        with context.database.transaction() as session:
            calibrations.report_plan(session, job.calibration, step, fraction, context.settings.embedding_s)

    costs = []
    for parameters in job.settings:
        setup = prepare(context, job.solver, parameters, network, report=report)
        tiles = setup.program.tiles
        with context.database.reading() as session:
            ratio = charge_ratio(session, setup.qpu.graph.graph_id)
        costs.append(SettingCost(tiles, ratio * setup.estimate_us(parameters, tiles)))
    return costs


def _count_shared(digests: bytes, training: StoredImages) -> int:
    """Return how many of the images with ``digests`` are among those that a network was trained on."""
    images, _ = _decode(training)
    return len(image_digests.shared_images(digests, image_digests.digests(images)))


def _runs(
    job: PlanJob, images: ImageArray, labels: NDArray[np.int16], costs: list[SettingCost]
) -> list[CalibrationRun]:
    """Return the run of each setting; those with batches of one size share their rows."""
    by_size: dict[int, list[BatchRow]] = {}
    runs = []
    for number, parameters in enumerate(job.settings):
        tiles = costs[number].tiles if costs else None
        size = default_batch_size(job.solver, parameters, tiles)
        size = within_bytes(size, job.offered.shape.nbytes, tiles)
        if size not in by_size:
            by_size[size] = list(encode_batches(images, labels, None, size))
        digest = run_digest(job.network, job.solver, parameters.to_dict(), images, labels)
        runs.append(CalibrationRun(parameters, digest, len(images), by_size[size]))
    return runs
