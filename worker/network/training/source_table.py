"""What each source of a network adds: its own accuracy with all of them, without each, and with each alone.

Only sources that were left out of images of the training are left out here: without those that the network
always had, its scores are a guess.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from schema.network.architecture import FOLDED_LAM, FOLDED_LAM_WITHOUT, Architecture
from schema.network.source_table import SourceRow, SourceTable
from worker.network.layers import NetworkModule
from worker.network.training.samples import Samples

Scores = Callable[[tuple[str, ...]], NDArray[np.float64]]


def source_table(
    architecture: Architecture, scores: Scores, labels: NDArray[np.integer], *, held_out: bool
) -> SourceTable | None:
    """Return the table of a network of ``architecture``; None: it has no sources.

    Args:
        scores: returns the own scores (N, K) without the sources that it is given.
        labels: (N,).
        held_out: whether these images were not trained on.
    """
    if not architecture.source:
        return None
    named = {source.name: source.dropout > 0.0 for source in architecture.source}
    measured: dict[tuple[str, ...], float] = {}

    def accuracy(without: tuple[str, ...]) -> float | None:
        if not all(named[name] for name in without):
            return None
        if without not in measured:  # of two sources, one alone is without the other
            measured[without] = float((scores(without).argmax(axis=1) == labels).mean())
        return measured[without]

    rows = []
    for name, block in architecture.blocks.items():
        others = tuple(other for other in named if other != name)
        visible = block.stop - block.start
        rows.append(SourceRow(name=name, visible=visible, without=accuracy((name,)), alone=accuracy(others)))
    return SourceTable(images=len(labels), held_out=held_out, all=accuracy(()) or 0.0, rows=tuple(rows))


def folded_lams(network: NetworkModule, transfer: str, samples: Samples) -> dict[str, NDArray[np.float32]]:
    """Return half of the largest |x W| over ``samples``, x the folded visible units, by its name.

    That turns off a second class unit: it adds lam - (x W)_k to the energy. There is another one for images
    without some of the sources of ``network``, if it can do without any.
    """
    largest = dict.fromkeys((FOLDED_LAM, FOLDED_LAM_WITHOUT), 0.0)
    sets = _left_out(network.architecture)
    with torch.no_grad():
        for part in samples.batches(network):
            values = network.values(part)
            for name, without in sets:
                left = values.clone() if without else values
                for block in without:
                    left[:, block] = 0.5
                largest[name] = max(largest[name], float(_pull(network, transfer, left).abs().max()))
    return {name: np.array([0.5 * largest[name]], np.float32) for name in dict.fromkeys(n for n, _ in sets)}


def _pull(network: NetworkModule, transfer: str, values: Tensor) -> Tensor:
    pull: Tensor = network.value_logits(values) if transfer == "paper" else network.classes(values)
    return pull


def _left_out(architecture: Architecture) -> list[tuple[str, tuple[slice, ...]]]:
    """Return each set of sources that may be left out, none first, as visible units."""
    blocks = architecture.blocks
    free = [blocks[source.name] for source in architecture.source if source.dropout > 0.0]
    most = min(len(free), len(blocks) - 1)
    some = [(FOLDED_LAM_WITHOUT, each) for size in range(1, most + 1) for each in combinations(free, size)]
    return [(FOLDED_LAM, ()), *some]
