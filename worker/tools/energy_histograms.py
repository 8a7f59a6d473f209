"""Prints energy histograms of single images' reads, as one JSON object.

    python -m worker.tools.energy_histograms RUN IMAGE [IMAGE ...]

A report takes its histograms from it; the pages of single images ask the workers.
"""

from __future__ import annotations

import json
import sys

from schema.database import Database
from schema.settings import load
from worker.pipeline.energy_histograms import read_histograms
from worker.records.features.backbones import BackboneCache
from worker.records.networks import Registry
from worker.tools import entry


def main() -> None:
    """Print the histograms of a run's images, both from the command line."""
    run, *images = map(int, sys.argv[1:])
    database = Database(load().database_url)
    try:
        with database.reading() as session:
            sys.stdout.write(json.dumps(read_histograms(session, run, images, Registry(), BackboneCache())))
    finally:
        database.dispose()


if __name__ == "__main__":
    entry.run(main)
