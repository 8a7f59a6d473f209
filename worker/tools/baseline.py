"""What a run's network does by itself, without any annealer: its classes, and how long a forward pass takes.

    python -m worker.tools.baseline RUN

prints one JSON object about the images of a run. One thread, so that figures are those of one core.
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
from schema.errors import AnnealqError, NotFound, ParameterError
from schema.settings import load
from schema.tables import Batch
from worker.compute import scoring
from worker.network import features
from worker.network.objective import class_scores
from worker.network.trained import TrainedNetwork
from worker.records import batches
from worker.records.networks import Registry

_BATCH = 100  # images of a forward pass that takes many at once
_REPEATS = 30


@dataclass(frozen=True)
class Measured:
    """images: how many. right: those whose label is the network's own class; None where there are no labels.

    forward_us: microseconds from pixels to class scores for one image alone; in_batch_us: for each image of a
    batch of up to 100. Medians of 30 passes, weights at hand, one thread.
    """

    images: int
    right: int | None
    forward_us: float
    in_batch_us: float


def measure(network: TrainedNetwork, images: NDArray[np.uint8], labels: NDArray[np.int16] | None) -> Measured:
    """The network's own classes of images (N, H, W) uint8 against labels (N,); times of forward passes."""
    own = features.classify(network.architecture, network.weights, images, network.transfer)
    right = None if labels is None else int((own == labels).sum())
    batch = images[:_BATCH]
    forward_us = _time(network, images[:1])
    return Measured(len(images), right, forward_us, _time(network, batch) / len(batch))


def _time(network: TrainedNetwork, images: NDArray[np.uint8]) -> float:
    """Microseconds of one forward pass, the median of many."""
    torch_network = features.restore(network.architecture, network.weights)
    pixels = torch.from_numpy(np.ascontiguousarray(images))
    times = []
    with torch.no_grad():
        for _ in range(_REPEATS):
            start = time.perf_counter()
            class_scores(torch_network, torch_network.pixels(pixels), network.transfer)
            times.append(time.perf_counter() - start)
    return 1e6 * statistics.median(times)


def measure_run(database: Database, run: int) -> Measured:
    """The same for the images of a run; raises NotFound."""
    with database.reading() as session:
        ids = session.scalars(select(Batch.id).where(Batch.run_id == run).order_by(Batch.ordinal)).all()
        if not ids:
            raise NotFound(f"no run {run}: `annealq runs list` shows what there is")
        works = [batches.load(session, batch) for batch in ids]
        network = Registry().get(session, works[0].network)
    images = [scoring.pixels(work) for work in works]
    labels = [arrays.decode_labels(work.labels, work.shape[0]) for work in works if work.labels is not None]
    return measure(network, np.concatenate(images), np.concatenate(labels) if labels else None)


def main() -> None:
    torch.set_num_threads(1)
    try:
        if len(sys.argv) != 2 or not sys.argv[1].isdecimal():
            raise ParameterError("usage: python -m worker.tools.baseline RUN")
        database = Database(load().database_url)
        database.require_current()
        measured = measure_run(database, int(sys.argv[1]))
    except AnnealqError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(error.exit_code)
    sys.stdout.write(json.dumps(asdict(measured)) + "\n")


if __name__ == "__main__":
    main()
