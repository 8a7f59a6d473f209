"""`python -m worker.tools.q_matrix NETWORK OUTPUT`: the Q matrix of a ready network, for whoever draws it.

A producer knows neither torch nor Q. It runs this as a process and reads arrays from OUTPUT, a .npz file:

    q_matrix  (n, n) float64, upper triangular, visible units sampled
    sizes     (layers,) int64, units of each layer in Q's order
    kinds     (layers,) str: visible, conv, pool, dense or classes
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from schema.database import Database
from schema.errors import AnnealqError
from schema.settings import load


def write(database: Database, network: int, output: Path, image: Path | None) -> None:
    """Compute and write; without an image all feature values are 0.

    image: .npy of (H, W) uint8.

    Raises:
        NotFound, Corrupt: as `Registry.get`. ImageError: the image does not suit the network.
    """
    import numpy as np

    from worker.records.networks import Registry

    with database.reading() as session:
        found = Registry().get(session, network)
    features = np.zeros(found.architecture.visible)
    if image is not None:
        features = found.features(np.load(image, allow_pickle=False)[np.newaxis])[0]
    model = found.model("sampled", None)
    kinds = [layer["kind"] for layer in found.architecture.summary()["units"]]
    with output.open("wb") as file:
        np.savez(file, q_matrix=model.q_matrix(features), sizes=np.array(model.sizes), kinds=np.array(kinds))


def main() -> int:
    """Entry point; an error is one line on standard error and the exit code of the command line."""
    parser = argparse.ArgumentParser(prog="python -m worker.tools.q_matrix")
    parser.add_argument("network", type=int)
    parser.add_argument("output", type=Path)
    parser.add_argument("--image", type=Path)
    given = parser.parse_args()
    try:
        write(Database(load().database_url), given.network, given.output, given.image)
    except ImportError as error:
        missing = f"needs what a worker has ({error}): pip install 'annealq[worker]'"
        sys.stderr.write(f"the Q matrix {missing}\n")
        return 1
    except AnnealqError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
