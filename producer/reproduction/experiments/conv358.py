"""The network of 358 units, of which the paper reports that it could be sampled, and no accuracy."""

from __future__ import annotations

from dataclasses import replace

from producer.images.imageset import ImageSet
from producer.reproduction.report import Comparison, Reproduced
from producer.reproduction.runner import Runner, labelled, one_of_each, perform
from producer.reproduction.trial import Data, Scale
from schema.parameters import Parameters, Visible
from schema.quantities import count_text

NAME = "conv358"
SOURCE = "Higham and Bedford, section 4.3: embedded and sampled, no scores reported"
FULL = Scale(reads=100, fewer=(10, 20, 50), noise=(0.0, 0.01, 0.02, 0.05))
QUICK = Scale(reads=20, fewer=(10,), noise=(0.0, 0.02), noise_reads=20, limit=50)


def reproduce(runner: Runner, test: ImageSet, train: ImageSet | None, scale: Scale, seed: int) -> Reproduced:
    """Sample the newest `conv358` on ``test``, with pixels sampled and folded; train it by energy on
    ``train`` first.

    Args:
        runner: runs networks and images through the queue.
        test: labelled images.
        train: training images; None to use a network that is ready.
        scale: numbers of reads, noise levels and images.
        seed: start of every random stream.

    Raises:
        ImageError: test images without labels, or none of some class.
        NetworkError: no `conv358` is ready and there is nothing to train it on.
    """
    name = runner.ready(NAME, None if train is None else "energy", train)
    data = Data(one_of_each(test, 10, seed), scale.part(labelled(test)))
    base = Parameters(seed=seed)
    trials = {
        v.value: perform(runner, f"pixels {v}", name, data, replace(base, visible=v), scale) for v in Visible
    }
    whole = f"{count_text(len(data.whole.images), 'image')} of {test.name}"
    return Comparison(NAME, SOURCE, None, trials, whole, scale, seed).report()
