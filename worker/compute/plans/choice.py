"""Chooses among plans of reads by accuracy and cost.

The cost of an image is that of full problems: in each round (fixed + read x reads) / tiles, times the share
of the images in it. A run has whole problems, so the cheapest plan depends on its number of images, and the
plans that are cheapest for some number are stored: a producer chooses among them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.compute.candidates import about_as_accurate, choose_cheapest
from worker.compute.plans.simulation import Outcomes, Simulated, list_plans, simulate

FloatArray = NDArray[np.float64]

_ROUNDING = 1e-9  # of problems: shares are quotients in float64
# Numbers of images that the cheapest plans are stored for; other numbers have one of these plans, nearly.
_RUNS = (30, 100, 300, 1_000, 3_000, 10_000, 100_000, 1_000_000)


@dataclass(frozen=True)
class Prices:
    """What problems cost: ``tiles`` images in a full one, ``fixed_us`` apart from its reads, and a read.

    Without qubits the unit is a sweep, and nothing but reads costs any.
    """

    tiles: int
    fixed_us: float
    read_us: float

    def of_image(self, each: Simulated) -> float:
        """Return the mean cost of an image in full problems."""
        return sum(share * self._problem(reads) for share, reads in each.rounds) / self.tiles

    def of_run(self, each: Simulated, images: int) -> float:
        """Return the cost of a run of ``images`` in whole problems."""
        return sum(
            math.ceil(images * share / self.tiles - _ROUNDING) * self._problem(reads)
            for share, reads in each.rounds
        )

    def _problem(self, reads: int) -> float:
        return self.fixed_us + reads * self.read_us


def compare_plans(outcomes: Outcomes, prices: Prices) -> dict[str, Any]:
    """Return the plans that are worth their cost, for JSON.

    Returns:
        The prices; ``listed``, plans by the cost of an image: ``reads``, ``rounds`` as [reads, gap] with the
        ``shares`` of the images that they read, ``right`` images, and whether it is ``eligible``: about as
        accurate as the most accurate one, see `candidates.choose_cheapest`; and, as indices of these, the
        ``chosen`` one, cheapest for very many images, and ``fixed``, the best without later rounds.
    """
    simulated = [simulate(plan, outcomes) for plan in list_plans(outcomes)]
    right = np.array([each.right for each in simulated])
    costs = np.array([prices.of_image(each) for each in simulated])
    eligible = about_as_accurate(right, costs)
    _, chosen = choose_cheapest(right[np.newaxis], costs[np.newaxis])
    without = np.array([index for index, each in enumerate(simulated) if not each.plan.later])
    _, place = choose_cheapest(right[np.newaxis, without], costs[np.newaxis, without])
    fixed = int(without[place])
    counts = right.sum(axis=1)
    stored = {chosen, fixed, *_front(counts, costs)}
    for images in _RUNS:
        of_run = np.array([prices.of_run(each, images) for each in simulated])
        stored |= _front(counts, of_run)
        stored.add(int(np.lexsort((-counts, of_run, ~eligible))[0]))
    order = sorted(stored, key=lambda index: (costs[index], -counts[index]))
    return {
        "tiles": prices.tiles,
        "fixed_us": round(prices.fixed_us, 2),
        "read_us": round(prices.read_us, 4),
        "images": right.shape[1],
        "listed": [
            {
                "reads": simulated[index].plan.reads,
                "rounds": [[later.reads, later.gap] for later in simulated[index].plan.later],
                "shares": [round(share, 6) for share in simulated[index].shares],
                "right": int(counts[index]),
                "eligible": bool(eligible[index]),
            }
            for index in order
        ],
        "chosen": order.index(chosen),
        "fixed": order.index(fixed),
    }


def _front(counts: NDArray[np.integer[Any]], costs: FloatArray) -> set[int]:
    """Return the plans on the front of cost and accuracy: none as cheap is as accurate."""
    front, best = set(), -1
    for index in np.lexsort((-counts, costs)).tolist():
        if counts[index] > best:
            best = int(counts[index])
            front.add(index)
    return front
