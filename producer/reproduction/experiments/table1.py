"""Table 1 of the paper: five binary digits of 5 x 5 pixels, and all images one pixel away from them."""

from __future__ import annotations

from producer.reproduction import digits5x5
from producer.reproduction.paper import TABLE_1
from producer.reproduction.report import Comparison, Reproduced
from producer.reproduction.runner import TRANSFERS, Runner, perform
from producer.reproduction.trial import Data, Scale
from schema.parameters import Parameters

FULL = Scale(reads=1000)
QUICK = Scale(reads=100)


def reproduce(runner: Runner, scale: Scale, seed: int) -> Reproduced:
    """Train the network by both transfers on the five digits; sample the digits and their 125 flips by
    ``runner``.

    ``scale`` sets reads and noise, ``seed`` every random stream.
    """
    data, base = Data(digits5x5.digits(), digits5x5.flips()), Parameters(seed=seed)
    networks = {t: runner.ready(TABLE_1.network, t, data.chosen) for t in TRANSFERS}
    trials = {t: perform(runner, f"{t} transfer", name, data, base, scale) for t, name in networks.items()}
    return Comparison(
        "table1", TABLE_1.source, TABLE_1, trials, "125 one-pixel flips, trained on too", scale, seed
    ).report()
