"""The chosen epoch is accurate; the loss, and then the later one, decide where a sample cannot tell."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from worker.network.quality import image_weights
from worker.network.training.epoch_choice import EpochChoice, MeasuredEpoch

Right = NDArray[np.bool_]


def right(count: int, images: int, start: int = 0) -> Right:
    """``count`` of ``images`` are right, from number ``start`` on."""
    return np.roll(np.arange(images) < count, start)


def chosen(outcomes: list[tuple[Right, float]], *, sampled: bool = True, labels: Right | None = None) -> int:
    """Return the chosen epoch of those with the images that are right and a loss that all images share."""
    images = len(outcomes[0][0])
    of_classes = np.zeros(images, np.int64) if labels is None else labels.astype(np.int64)
    choice = EpochChoice(image_weights(of_classes, balanced=labels is not None), sampled=sampled)
    best = 0
    for epoch, (is_right, loss) in enumerate(outcomes, start=1):
        best = epoch if choice.offer(MeasuredEpoch(epoch, is_right, np.full(images, loss))) else best
    return best


def test_a_low_loss_does_not_outweigh_accuracy() -> None:
    # Fashion-MNIST: one of the lowest losses is that of the first epoch, by far the worst one.
    losses, accuracies = (0.81, 1.16, 1.06, 0.84, 0.85, 0.82), (0.75, 0.78, 0.85, 0.86, 0.85, 0.86)
    outcomes = [(right(int(5000 * a), 5000), loss) for a, loss in zip(accuracies, losses, strict=True)]
    assert chosen(outcomes) == 6
    assert chosen(outcomes[:3]) == 3


def test_one_lucky_image_of_few_does_not_outweigh_the_loss() -> None:
    lucky, calm = (right(19, 20), 2.0), (right(18, 20), 0.4)
    assert chosen([lucky, calm]) == 2
    assert chosen([calm, lucky]) == 1
    # The same one image is decisive where the images are all that there is.
    assert chosen([lucky, calm], sampled=False) == 1


def test_only_images_that_differ_make_accuracies_uncertain() -> None:
    # 10 images more, and no other difference: sqrt(10) images are the standard error.
    better, worse = right(910, 1000), right(900, 1000)
    assert chosen([(better, 2.0), (worse, 0.1)]) == 1
    # As many more, but 190 images differ.
    assert chosen([(better, 2.0), (right(900, 1000, 100), 0.1)]) == 2


def test_of_losses_that_cannot_be_told_apart_the_later_epoch_is_chosen() -> None:
    rng = np.random.default_rng(0)
    choice = EpochChoice(image_weights(np.zeros(400, np.int64), balanced=False), sampled=True)
    low = rng.exponential(0.5, 400)
    alike = low + rng.permutation(np.repeat([0.3, -0.29], 200))
    assert low.mean() < alike.mean()
    is_right = right(360, 400)
    assert choice.offer(MeasuredEpoch(1, is_right, low))
    assert choice.offer(MeasuredEpoch(2, is_right, alike))
    assert not choice.offer(MeasuredEpoch(3, is_right, low + 0.01))


def test_a_rare_class_weighs_as_much_as_a_frequent_one() -> None:
    is_rare = np.arange(1000) >= 900
    always_frequent, both = ~is_rare, np.roll(np.arange(1000) < 850, 150)
    outcomes = [(always_frequent, 0.3), (both, 0.3)]
    assert chosen(outcomes) == 1
    assert chosen(outcomes, labels=is_rare) == 2


@given(st.lists(st.tuples(st.integers(0, 2**12 - 1), st.floats(0, 9)), min_size=1, max_size=8))
def test_no_choice_is_worse_than_the_error_of_the_best(offers: list[tuple[int, float]]) -> None:
    outcomes = [(np.array([(bits >> k) & 1 for k in range(12)], bool), loss) for bits, loss in offers]
    taken, _ = outcomes[chosen(outcomes) - 1]
    best = max(int(is_right.sum()) for is_right, _ in outcomes)
    furthest = max(int((taken != is_right).sum()) for is_right, _ in outcomes if is_right.sum() == best)
    assert best - int(taken.sum()) <= np.sqrt(furthest) + 1e-9
    assert outcomes[chosen(outcomes, sampled=False) - 1][0].sum() == best
