"""Each class gives its share of held-out samples, and none gives its last one."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from worker.network.training.samples import split


@given(
    counts=st.lists(st.integers(0, 40), min_size=1, max_size=6),
    share=st.floats(0.0, 0.5),
    seed=st.integers(0, 2**32 - 1),
)
def test_classes_are_held_out_by_their_share(counts: list[int], share: float, seed: int) -> None:
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    train, held_out = split(labels, share, seed)
    assert sorted([*train, *held_out]) == list(range(len(labels)))
    taken = np.bincount(labels[held_out], minlength=len(counts))
    for count, of_class in zip(counts, taken.tolist(), strict=True):
        assert abs(of_class - share * count) < 1.0 or count == 1
        assert of_class < count or not count
    single = counts.count(1)
    assert int(len(labels) * share) - single <= len(held_out) <= len(labels) * share


def test_the_order_follows_from_the_seed() -> None:
    labels = np.arange(100) % 4
    first, again, other = (split(labels, 0.2, seed)[0].tolist() for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert first != sorted(first)
