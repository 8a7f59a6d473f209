"""Computes the controls of a run or a calibration: accuracies on some of its images without annealing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import structlog
from numpy.typing import NDArray

from schema.codecs import arrays, tiling
from schema.codecs.corruption import stored_in
from schema.errors import AnnealqError, Corrupt, reason
from schema.parameters import Parameters
from schema.shapes import InputArray
from worker.compute import scoring
from worker.compute.controls import MAX_OWN, Controls, compute_controls, spread
from worker.context import Context
from worker.pipeline.attempt import load_network
from worker.pipeline.features.inputs import with_inputs
from worker.process.meter import Step
from worker.records import batches, runs

log = structlog.get_logger()

_BATCHES = 20  # that images are taken from


def controls_of(context: Context, run: int) -> Controls | None:
    """Return the controls of the labelled ``run`` on qubits in ``context``; None for others.

    They are also None if the settings want none, or something they need is damaged: the run is finished
    without.
    """
    most = context.settings.control_images
    with context.database.reading() as session:
        among = runs.list_controlled(session, run) if most else []
    if not among:
        return None
    try:
        with context.meter.timed(Step.DECODE):
            return compute(context, among, most)
    except AnnealqError as error:
        log.warning("controls cannot be computed", row=run, error=reason(error))
        return None


def compute(
    context: Context, among: Sequence[int], most: int, parameters: Parameters | None = None
) -> Controls:
    """Return the controls of labelled batches ``among`` those of a run on qubits in ``context``.

    Args:
        most: images with random bits.
        parameters: how they are sampled and scored; None: as the run says.

    Raises:
        Corrupt: something that is needed is damaged.
    """
    chosen = [among[k] for k in spread(len(among), _BATCHES)]
    with context.database.reading() as session:
        loaded = [batches.load(session, batch) for batch in chosen]
        placed = batches.load_tiling(session, chosen[0])
    if placed is None:
        raise Corrupt(f"batch {chosen[0]} has no embedding")
    with stored_in(f"embedding of batch {chosen[0]}", "classify the images again"):
        tiles = tiling.decode(placed)
    # Data sets are often sorted by class: the images come from all of its parts.
    wanted = spread(sum(batch_input.count for batch_input in loaded), MAX_OWN)
    parameters = parameters or loaded[0].parameters
    network = load_network(context, loaded[0].network, parameters)
    images: list[InputArray] = []
    labels: list[NDArray[np.int16]] = []
    first = 0
    for batch_input in loaded:
        count = batch_input.count
        here = wanted[(wanted >= first) & (wanted < first + count)] - first
        with context.database.reading() as session:
            complete = with_inputs(session, context.backbones, batch_input, network.architecture)
        images.append(scoring.inputs(complete)[here])
        labels.append(arrays.decode_labels(batch_input.labels or b"", count)[here])
        first += count
    return compute_controls(network, parameters, np.concatenate(images), np.concatenate(labels), tiles, most)
