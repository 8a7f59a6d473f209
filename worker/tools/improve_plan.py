"""Searches for a better shipped tiling than that of the package.

python -m worker.tools.improve_plan NETWORK sampled|folded TOPOLOGY SIDE SECONDS [SEED]
"""

from __future__ import annotations

import sys
from importlib.resources import files
from pathlib import Path

from worker.embedding.search.shipped import TRACKS, file_name, load_shipped, save_shipped


def main(network: str, visible: str, topology: str, side: str, seconds: str, seed: str = "0") -> None:
    """Search from the shipped tiling, if there is one, and replace it by a better one.

    Args:
        network: name of a preset.
        visible: ``sampled`` or ``folded``.
        topology: of the chip, such as ``pegasus``.
        side: of the window of the chip, in cells.
        seconds: time limit.
        seed: of the search.
    """
    from schema.network.architecture import preset
    from schema.network.weights import decode as decode_weights
    from worker.embedding.model.graphs import Interactions
    from worker.embedding.search.find import find_embedding
    from worker.embedding.tiling.periodic import ideal_chip
    from worker.network.transfer import energy_model

    layers = preset(network)
    data = files("schema").joinpath("presets", f"{network}.safetensors").read_bytes()
    model = energy_model(layers, decode_weights(data, layers), "energy", visible)
    graph, solver = Interactions.of(model), ideal_chip(topology, int(side), TRACKS)
    before = load_shipped(graph, solver)
    tiling = find_embedding(graph, solver, seed=int(seed), time_limit_s=float(seconds)).tiling
    better = before is None or tiling.tiles > before.tiles
    path = save_shipped(graph, solver, tiling) if better else Path(file_name(graph, solver))
    sys.stdout.write(f"{path.name}: {tiling.tiles} tiles, before {before.tiles if before else 0}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
