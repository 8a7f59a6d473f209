"""Measures the classical baseline of a run: accuracy and latency of its network without an annealer.

    python -m worker.tools.baseline RUN

prints one JSON object about the images of the run. One thread, so that the times are those of one core.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sqlalchemy import select

from schema.codecs import arrays
from schema.database import Database
from schema.errors import NotFound, ParameterError
from schema.settings import load
from schema.shapes import ImageArray
from schema.tables import Batch
from worker.compute import scoring
from worker.network import features, inference
from worker.network.objective import class_scores
from worker.network.trained import TrainedNetwork
from worker.pipeline.features.inputs import load_inputs
from worker.records import batches
from worker.records.features.backbones import BackboneCache
from worker.records.networks import Registry
from worker.tools import entry

_BATCH = 100  # images of a forward pass that takes many at once
_REPEATS = 30


@dataclass(frozen=True)
class Measured:
    """What a network does with a set of images."""

    images: int  # how many there are
    right: int | None  # those whose label is the network's own class; None where there are no labels
    # microseconds from pixels to class scores for one image alone. Median of 30 passes with weights in
    # memory, one thread
    forward_us: float
    in_batch_us: float  # the same for each image of a batch of up to 100


def measure(network: TrainedNetwork, images: ImageArray, labels: NDArray[np.int16] | None) -> Measured:
    """Compare the classes that ``network`` gives ``images`` (N, H, W) uint8 with ``labels`` (N,); time it."""
    known = (network.architecture, network.weights, images, network.transfer)
    own = inference.classify(*known, network.without)
    right = None if labels is None else int((own == labels).sum())
    batch = images[:_BATCH]
    forward_us = _time_us(network, images[:1])
    return Measured(len(images), right, forward_us, _time_us(network, batch) / len(batch))


def _time_us(network: TrainedNetwork, images: ImageArray) -> float:
    torch_network = features.restore(network.architecture, network.weights)
    pixels = torch.from_numpy(np.ascontiguousarray(images))
    times = []
    with torch.no_grad():
        for _ in range(_REPEATS):
            start = time.perf_counter()
            class_scores(torch_network, torch_network.pixels(pixels), network.transfer, network.without)
            times.append(time.perf_counter() - start)
    return 1e6 * statistics.median(times)


def measure_run(database: Database, run: int) -> Measured:
    """Return `measure` of all images of ``run``, read from ``database``.

    Raises:
        NotFound: there is no such run.
    """
    with database.reading() as session:
        ids = session.scalars(select(Batch.id).where(Batch.run_id == run).order_by(Batch.ordinal)).all()
        if not ids:
            raise NotFound(f"run {run} does not exist: `annealq runs list` shows all runs")
        first = batches.load(session, ids[0])
        network = Registry().get(session, first.network).leaving_out(first.parameters.without)
        cache = BackboneCache()
        inputs = [load_inputs(session, cache, batch, network.architecture) for batch in ids]
    images = [scoring.inputs(batch) for batch in inputs]
    labels = [arrays.decode_labels(row.labels, row.count) for row in inputs if row.labels is not None]
    return measure(network, np.concatenate(images), np.concatenate(labels) if labels else None)


def main() -> None:
    """Print the measurement of the run that the command line names."""
    torch.set_num_threads(1)
    if len(sys.argv) != 2 or not sys.argv[1].isdecimal():
        raise ParameterError("usage: python -m worker.tools.baseline RUN")
    database = Database(load().database_url)
    database.require_current()
    sys.stdout.write(json.dumps(asdict(measure_run(database, int(sys.argv[1])))) + "\n")


if __name__ == "__main__":
    entry.run(main)
