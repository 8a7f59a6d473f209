"""Table 2 of the paper: one MNIST image of each class; then a whole test set, against reads and noise."""

from __future__ import annotations

from producer.images.imageset import ImageSet
from producer.reproduction.paper import TABLE_2
from producer.reproduction.report import Comparison, Reproduced
from producer.reproduction.runner import TRANSFERS, Runner, labelled, one_of_each, perform
from producer.reproduction.trial import Data, Scale
from schema.parameters import Parameters
from schema.quantities import count_text

FULL = Scale(reads=1000, fewer=(10, 20, 50, 100, 200, 500), noise=(0.0, 0.01, 0.02, 0.05))
QUICK = Scale(reads=100, fewer=(10, 30), noise=(0.0, 0.02, 0.05), limit=100)


def reproduce(runner: Runner, test: ImageSet, train: ImageSet | None, scale: Scale, seed: int) -> Reproduced:
    """Sample `mnist` by both transfers on ``test``; train the networks on ``train`` unless they were.

    ``runner`` runs it through the queue; ``scale`` sets reads, noise and images, ``seed`` every random
    stream.

    Raises:
        ImageError: test images without labels, or none of some class.
        NetworkError: a network is not ready and there is nothing to train it on.
    """
    data = Data(one_of_each(test, len(TABLE_2.scores), seed), scale.part(labelled(test)))
    base = Parameters(seed=seed)
    networks = {t: runner.ready(TABLE_2.network, t, train) for t in TRANSFERS}
    trials = {t: perform(runner, f"{t} transfer", name, data, base, scale) for t, name in networks.items()}
    whole = f"{count_text(len(data.whole.images), 'image')} of {test.name}"
    return Comparison("table2", TABLE_2.source, TABLE_2, trials, whole, scale, seed).report()
