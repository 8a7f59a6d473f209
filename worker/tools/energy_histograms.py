"""Prints energy histograms of single images' reads, as one JSON object.

    python -m worker.tools.energy_histograms RUN IMAGE [IMAGE ...]

Where one problem carries many images, their energies are not stored: they are computed from the raw reads
and Q.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from schema.database import Database
from schema.settings import load
from schema.states import BatchState
from schema.tables import Batch
from worker.compute import scoring
from worker.records import batches
from worker.records.networks import Registry
from worker.tools import entry

_BINS = 30


def read_histograms(session: Session, run: int, images: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Return the energy histogram of each of ``images`` of ``run`` by index, without those not scored.

    Raises:
        Corrupt: what is stored for an image is damaged.
    """
    networks = Registry()
    histograms: dict[int, dict[str, Any]] = {}
    rows = session.execute(
        select(Batch.id, Batch.first_image, Batch.count)
        .where(Batch.run_id == run, Batch.state == BatchState.SCORED)
        .order_by(Batch.first_image)
    )
    for batch, first, count in rows:
        wanted = [image - first for image in images if first <= image < first + count]
        if wanted:
            batch_input = batches.load(session, batch)
            network = networks.get(session, batch_input.network)
            stored = batches.load_samples(session, batch)
            reads = scoring.read_energies(network, batch_input, stored, wanted)
            histograms |= {first + image: histogram(*energies) for image, energies in reads.items()}
    return histograms


def histogram(energies: NDArray[np.float64], classes: NDArray[np.int64]) -> dict[str, Any]:
    """Return the histogram of ``energies`` (R,) by ``classes`` (R,), -1: none or several.

    Returns:
        ``edges``: (31,) bounds of the bins. ``classes``: the counts (30,) by class, without classes that no
        read has.
    """
    low, high = float(energies.min()), float(energies.max())
    edges = np.linspace(low, high if high > low else low + 1e-6, _BINS + 1)
    counts = {int(k): np.histogram(energies[classes == k], edges)[0].tolist() for k in np.unique(classes)}
    return {"edges": edges.tolist(), "classes": counts}


def main() -> None:
    """Print the histograms of a run's images, both from the command line."""
    run, *images = map(int, sys.argv[1:])
    database = Database(load().database_url)
    try:
        with database.reading() as session:
            sys.stdout.write(json.dumps(read_histograms(session, run, images)))
    finally:
        database.dispose()


if __name__ == "__main__":
    entry.run(main)
