"""Searches for a better shipped tiling than that of the package.

python -m worker.tools.improve_plan NETWORK sampled|folded TOPOLOGY SIDE SECONDS [SEED]
"""

from __future__ import annotations

import sys
from pathlib import Path

from worker.embedding.search.shipped import TRACKS, file_name, load_shipped, save_shipped


def main(network: str, visible: str, topology: str, side: str, seconds: str, seed: str = "0") -> None:
    """Search from the shipped tiling, if there is one, and replace it by a better one.

    Args:
        network: name of a preset, or a file of layers. Only which units are coupled matters.
        visible: ``sampled`` or ``folded``.
        topology: of the chip, such as ``pegasus``.
        side: of the window of the chip, in cells.
        seconds: time limit.
        seed: of the search.
    """
    import numpy as np

    from schema.network.architecture import PRESETS, load, preset
    from worker.embedding.model.graphs import Interactions
    from worker.embedding.search.find import find_embedding
    from worker.embedding.tiling.periodic import ideal_chip
    from worker.network.transfer import energy_model

    layers = preset(network) if network in PRESETS else load(Path(network))
    weights = {name: np.ones(shape, np.float32) for name, shape in layers.shapes.items()}
    model = energy_model(layers, weights, "energy", visible)
    graph, solver = Interactions.of(model), ideal_chip(topology, int(side), TRACKS)
    before = load_shipped(graph, solver)
    tiling = find_embedding(graph, solver, seed=int(seed), time_limit_s=float(seconds)).tiling
    better = before is None or tiling.tiles > before.tiles
    path = save_shipped(graph, solver, tiling) if better else Path(file_name(graph, solver))
    sys.stdout.write(f"{path.name}: {tiling.tiles} tiles, before {before.tiles if before else 0}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
