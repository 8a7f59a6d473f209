"""Writes the Q matrix of a ready network as a .npz file: `python -m worker.tools.q_matrix NETWORK OUTPUT`.

q_matrix  (n, n) float64, upper triangular, visible units sampled
sizes     (layers,) int64, units of each layer in Q's order
kinds     (layers,) str: visible, conv, pool, dense or classes
sources   (sources,) str, names of the blocks of visible units; empty without sources
blocks    (sources,) int64, their units
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from schema.database import Database
from schema.settings import load
from worker.pipeline.features.inputs import inputs_of
from worker.records.features.backbones import BackboneCache
from worker.records.networks import Registry
from worker.tools import entry


def write(database: Database, network: int, output: Path, image: Path | None) -> None:
    """Compute the Q matrix of ``network`` and write it to ``output``.

    Args:
        database: where the network is stored.
        network: id of its row.
        output: the file to write.
        image: .npy of one image as the network takes it; without one, all feature values are 0.

    Raises:
        NotFound, Corrupt: as `Registry.get` says.
        ImageError: the image does not suit the network.
        BackboneError: a backbone of the network is not here.
    """
    with database.reading() as session:
        trained = Registry().get(session, network)
        features = np.zeros(trained.architecture.visible)
        if image is not None:
            pixels = np.load(image, allow_pickle=False)[np.newaxis]
            taken = inputs_of(session, BackboneCache(), trained.architecture, pixels)
            features = trained.features(taken)[0]
    model = trained.model("sampled", None)
    kinds = [layer["kind"] for layer in trained.architecture.summary()["units"]]
    blocks = trained.architecture.blocks
    with output.open("wb") as file:
        np.savez(
            file,
            q_matrix=model.q_matrix(features),
            sizes=np.array(model.sizes),
            kinds=np.array(kinds),
            sources=np.array(list(blocks), np.str_),
            blocks=np.array([block.stop - block.start for block in blocks.values()], np.int64),
        )


def main() -> None:
    """Write the file that the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m worker.tools.q_matrix")
    parser.add_argument("network", type=int)
    parser.add_argument("output", type=Path)
    parser.add_argument("--image", type=Path)
    options = parser.parse_args()
    write(Database(load().database_url), options.network, options.output, options.image)


if __name__ == "__main__":
    entry.run(main)
