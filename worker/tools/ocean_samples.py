"""Writes reads of a run as a sample set of D-Wave's Ocean, in JSON.

python -m worker.tools.ocean_samples RUN OUTPUT (--image N | --problem N) [--physical] [--round N]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from schema.database import Database
from schema.parameters import SampleSetRequest
from schema.settings import load
from worker.ocean.sample_sets import to_json
from worker.pipeline.sample_sets.build import build_sample_set
from worker.records.features.backbones import BackboneCache
from worker.records.networks import Registry
from worker.tools import entry


def main() -> None:
    """Write the file that the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m worker.tools.ocean_samples")
    parser.add_argument("run", type=int)
    parser.add_argument("output", type=Path)
    parser.add_argument("--image", type=int)
    parser.add_argument("--problem", type=int)
    parser.add_argument("--physical", action="store_true")
    parser.add_argument("--round", type=int)
    options = parser.parse_args()
    request = SampleSetRequest(options.image, options.problem, options.physical, options.round)
    database = Database(load().database_url)
    try:
        with database.reading() as session:
            built = build_sample_set(session, options.run, request, Registry(), BackboneCache())
    finally:
        database.dispose()
    options.output.write_text(f"{to_json(built)}\n", encoding="utf-8")


if __name__ == "__main__":
    entry.run(main)
