"""Which images are read again, and how they are shared out to problems and batches."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from schema.parameters import Round
from worker.rounds.selection import arrange, select_images, split

gaps = st.lists(
    st.floats(-5, 5, allow_nan=False) | st.just(-np.inf) | st.just(np.inf), min_size=1, max_size=60
)
wanted = st.builds(Round, st.just(10), st.floats(0, 3), st.floats(0.01, 1.0))


@given(gaps, wanted, st.integers(1, 9), st.none() | st.integers(0, 4))
def test_the_most_uncertain_images_fill_whole_problems(
    values: list[float], chosen: Round, tiles: int, affordable: int | None
) -> None:
    images = np.arange(100, 100 + len(values), dtype=np.int64)
    found = select_images(images, np.array(values), chosen, len(values), tiles, affordable)
    by_image = dict(zip(images.tolist(), values, strict=True))
    taken = [by_image[image] for image in found.images.tolist()]
    left = [by_image[image] for image in set(by_image) - set(found.images.tolist())]
    assert taken == sorted(taken)
    assert not left or not taken or max(taken) <= min(left)
    uncertain = sum(value < chosen.gap for value in values)
    assert found.uncertain == uncertain
    most = min(uncertain, max(int(chosen.share * len(values) + 1e-9), 1))
    assert len(taken) + found.unpaid - found.filled == most
    assert len(taken) % tiles == 0 or len(taken) == len(values)
    assert found.filled < tiles
    if affordable is not None:
        assert len(taken) <= affordable * tiles
    elif uncertain == 0:
        assert not taken


def test_images_without_a_class_come_first_and_equal_ones_by_number() -> None:
    found = select_images(
        np.array([7, 3, 9, 1]), np.array([0.5, -np.inf, 0.5, np.inf]), Round(5, 1.0, 1.0), 4, tiles=1
    )
    assert found.images.tolist() == [3, 7, 9]


@given(st.integers(2, 40), st.integers(2, 9), st.data())
def test_images_lie_on_other_tiles_than_before(images: int, tiles: int, data: st.DataObject) -> None:
    before = data.draw(st.lists(st.integers(0, tiles - 1), min_size=images, max_size=images))
    order = arrange(images, tiles, enumerate(before)).tolist()
    assert sorted(order) == list(range(images))
    for start in range(0, images, tiles):
        problem = order[start : start + tiles]
        assert set(problem) == set(range(images)[start : start + tiles])
        again = [tile for tile, image in enumerate(problem) if before[image] == tile]
        lay = {before[image] for image in problem}
        # One lies there again where all lay on one tile.
        assert len(again) == (1 if len(lay) == 1 and max(lay) < len(problem) else 0)


@given(st.integers(1, 5_000), st.integers(1, 400), st.integers(1, 3_000))
def test_batches_are_whole_problems_and_have_every_image_once(images: int, tiles: int, size: int) -> None:
    parts = split(images, tiles, size)
    assert [number for part in parts for number in range(images)[part]] == list(range(images))
    assert all((part.stop - part.start) % tiles == 0 for part in parts[:-1])
    assert all(part.stop > part.start for part in parts)
    assert max(part.stop - part.start for part in parts) <= max(size, tiles) + tiles
