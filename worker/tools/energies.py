"""Energy histograms of single images' reads, as JSON on standard output:

    python -m worker.tools.energies RUN IMAGE [IMAGE ...]

A report draws them. Energies are not stored for each image, where one problem carries many: they are computed
again, from the raw reads and Q.
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
from schema.errors import AnnealqError
from schema.settings import load
from schema.states import BatchState
from schema.tables import Batch
from worker.compute import scoring
from worker.records import batches
from worker.records.networks import Registry

_BINS = 30


def spectra(
    session: Session, networks: Registry, run: int, images: Sequence[int]
) -> dict[int, dict[str, Any]]:
    """For each image the histogram of its reads' energies; images that are not scored are left out.

    Raises:
        Corrupt: what is stored for one is damaged.
    """
    found: dict[int, dict[str, Any]] = {}
    for batch, first, count in _scored(session, run):
        wanted = [image - first for image in images if first <= image < first + count]
        if wanted:
            work = batches.load(session, batch)
            network = networks.get(session, work.network)
            stored = batches.load_samples(session, batch)
            reads = scoring.read_energies(network, work, stored, wanted)
            found |= {first + image: histogram(*energies) for image, energies in reads.items()}
    return found


def histogram(energies: NDArray[np.float64], classes: NDArray[np.int64]) -> dict[str, Any]:
    """Counts of (R,) energies by (R,) classes, -1: none or several.

    edges: (31,). classes: by class, the counts (30,) of its reads; only those that some read has.
    """
    low, high = float(energies.min()), float(energies.max())
    edges = np.linspace(low, high if high > low else low + 1e-6, _BINS + 1)
    counts = {
        int(one): np.histogram(energies[classes == one], edges)[0].tolist() for one in np.unique(classes)
    }
    return {"edges": edges.tolist(), "classes": counts}


def _scored(session: Session, run: int) -> list[tuple[int, int, int]]:
    """Id, first image and count of each batch that is scored."""
    rows = session.execute(
        select(Batch.id, Batch.first_image, Batch.count)
        .where(Batch.run_id == run, Batch.state == BatchState.SCORED)
        .order_by(Batch.first_image)
    )
    return [(batch, first, count) for batch, first, count in rows]


def main(run: str, *images: str) -> None:
    """Print the histograms; exit with 1 and one line where there are none."""
    database = Database(load().database_url)
    try:
        with database.reading() as session:
            sys.stdout.write(json.dumps(spectra(session, Registry(), int(run), [int(k) for k in images])))
    except AnnealqError as error:
        sys.exit(f"{type(error).__name__}: {error}")
    finally:
        database.dispose()


if __name__ == "__main__":
    main(*sys.argv[1:])
