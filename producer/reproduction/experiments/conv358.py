"""The network of 358 units, of which the paper reports that it could be sampled, and no accuracy."""

from __future__ import annotations

from dataclasses import replace

from producer.images import ImageSet
from producer.reproduction.report import Comparison, Reproduced
from producer.reproduction.runner import Runner, labelled, one_of_each
from producer.reproduction.trial import Data, Scale, perform
from schema.parameters import Parameters, Visible

NAME = "conv358"
SOURCE = "Higham and Bedford, section 4.3: embedded and sampled, no scores reported"
FULL = Scale(reads=100, fewer=(10, 20, 50), noise=(0.0, 0.01, 0.02, 0.05))
QUICK = Scale(reads=20, fewer=(10,), noise=(0.0, 0.02), noise_reads=20, limit=50)


def reproduce(
    laboratory: Runner, test: ImageSet, train: ImageSet | None, scale: Scale, seed: int
) -> Reproduced:
    """Sample the newest `conv358`, pixels sampled and folded; with ``train`` it is trained by energy first.

    Raises:
        ImageError: test images without labels, or none of some class.
        NetworkError: no `conv358` is ready and there is nothing to train it on.
    """
    name = laboratory.ready(NAME, None if train is None else "energy", train)
    data = Data(one_of_each(test, 10, seed), scale.part(labelled(test)))
    base = Parameters(seed=seed)
    trials = {
        v.value: perform(laboratory, f"pixels {v}", name, data, replace(base, visible=v), scale)
        for v in Visible
    }
    whole = f"{len(data.whole.images):,} images of {test.name}"
    return Comparison(NAME, SOURCE, None, trials, whole, scale, seed).report()
