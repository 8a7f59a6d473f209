"""Writes the energy function of an image as a binary quadratic model of D-Wave's Ocean.

    python -m worker.tools.ocean_model NETWORK IMAGE OUTPUT SUFFIX --visible sampled|folded [--lam LAM]

NETWORK is the id of its row, IMAGE a .npy file as the network takes it, SUFFIX .bqm, .coo or .json. It prints
the number of variables.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from schema.database import Database
from schema.parameters import Visible
from schema.settings import load
from schema.shapes import ImageArray
from worker.ocean import models
from worker.pipeline.features.inputs import inputs_of
from worker.records.features.backbones import BackboneCache
from worker.records.networks import Registry
from worker.tools import entry


def write(
    database: Database,
    network: int,
    image: ImageArray,
    output: Path,
    suffix: str,
    visible: Visible,
    lam: float | None = None,
) -> int:
    """Write the model of ``image`` to ``output``; return its number of variables.

    Args:
        database: where the network is stored.
        network: id of its row.
        image: as the network takes it.
        suffix: of the form; see `models.write_model`.
        lam: one-hot penalty; None: the network's own.

    Raises:
        NotFound, Corrupt: as `Registry.get` says.
        ImageError: the image does not suit the network.
    """
    with database.reading() as session:
        trained = Registry().get(session, network)
        inputs = inputs_of(session, BackboneCache(), trained.architecture, image[np.newaxis])
    model = trained.model(visible.value, lam)
    kinds = [layer["kind"] for layer in trained.architecture.summary()["units"]]
    linear = model.linear(trained.features(inputs))[0]
    models.write_model(models.model_of(model, linear, models.names_of(model, kinds)), output, suffix)
    return model.units


def main() -> None:
    """Write the file that the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m worker.tools.ocean_model")
    parser.add_argument("network", type=int)
    parser.add_argument("image", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("suffix", choices=models.SUFFIXES)
    parser.add_argument("--visible", type=Visible, required=True)
    parser.add_argument("--lam", type=float)
    options = parser.parse_args()
    image = np.load(options.image, allow_pickle=False)
    database = Database(load().database_url)
    try:
        wanted = options.output, options.suffix, options.visible, options.lam
        units = write(database, options.network, image, *wanted)
    finally:
        database.dispose()
    sys.stdout.write(f"{units}\n")


if __name__ == "__main__":
    entry.run(main)
