"""The chosen epoch is accurate, and its loss decides where a sample cannot tell accuracies apart."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from worker.network.epoch_choice import EpochChoice, image_weights

Right = NDArray[np.bool_]


def right(count: int, images: int, start: int = 0) -> Right:
    """``count`` of ``images`` are right, from number ``start`` on."""
    return np.roll(np.arange(images) < count, start)


def chosen(outcomes: list[tuple[Right, float]], *, sampled: bool = True) -> int:
    images = len(outcomes[0][0])
    choice = EpochChoice(image_weights(np.zeros(images, np.int64), balanced=False), sampled=sampled)
    for epoch, (is_right, loss) in enumerate(outcomes, start=1):
        choice.offer(epoch, is_right, loss)
    return choice.epoch


def test_a_low_loss_does_not_outweigh_accuracy() -> None:
    # Fashion-MNIST: the lowest loss is that of the first epoch, by far the worst one.
    losses, accuracies = (0.83, 1.16, 1.06, 0.84, 0.85, 0.82), (0.75, 0.78, 0.85, 0.86, 0.85, 0.86)
    outcomes = [(right(int(5000 * a), 5000), loss) for a, loss in zip(accuracies, losses, strict=True)]
    assert chosen(outcomes) == 6
    assert chosen(outcomes[:3]) == 3


def test_one_lucky_image_of_few_does_not_outweigh_the_loss() -> None:
    lucky, calm = (right(19, 20), 2.0), (right(18, 20), 0.4)
    assert chosen([lucky, calm]) == chosen([calm, lucky]) + 1 == 2
    # The same one image is decisive where the images are all that there is.
    assert chosen([lucky, calm], sampled=False) == 1


def test_only_images_that_differ_make_accuracies_uncertain() -> None:
    # 10 images more, and no other difference: sqrt(10) images are the standard error.
    better, worse = right(910, 1000), right(900, 1000)
    assert chosen([(better, 2.0), (worse, 0.1)]) == 1
    # As many more, but 190 images differ.
    assert chosen([(better, 2.0), (right(900, 1000, 100), 0.1)]) == 2


def test_of_equals_the_later_epoch_is_chosen() -> None:
    assert chosen([(right(9, 10), 0.5), (right(9, 10), 0.5)]) == 2


def test_a_rare_class_weighs_as_much_as_a_frequent_one() -> None:
    labels = np.repeat([0, 1], [900, 100])
    always_first, both = labels == 0, np.roll(np.arange(1000) < 850, 150)
    for balanced, epoch in ((False, 1), (True, 2)):
        choice = EpochChoice(image_weights(labels, balanced=balanced), sampled=True)
        choice.offer(1, always_first, 0.3)
        choice.offer(2, both, 0.3)
        assert choice.epoch == epoch


@given(st.lists(st.tuples(st.integers(0, 2**12 - 1), st.floats(0, 9)), min_size=1, max_size=8))
def test_no_choice_is_worse_than_the_error_of_the_best(offers: list[tuple[int, float]]) -> None:
    outcomes = [(np.array([(bits >> k) & 1 for k in range(12)], bool), loss) for bits, loss in offers]
    taken, _ = outcomes[chosen(outcomes) - 1]
    best = max(int(is_right.sum()) for is_right, _ in outcomes)
    furthest = max(int((taken != is_right).sum()) for is_right, _ in outcomes if is_right.sum() == best)
    assert best - int(taken.sum()) <= np.sqrt(furthest)
    assert outcomes[chosen(outcomes, sampled=False) - 1][0].sum() == best
