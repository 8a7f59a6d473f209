"""What a calibration needs of large sources: some images drawn of all, and a comparison with all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from producer.commands.shared.calibrating import read_validation, refuse_shared
from producer.images.source import read_images
from producer.intake import drawn as drawing
from producer.intake import find
from producer.intake.drawn import drawn
from producer.intake.find import source_for
from producer.intake.source import LargeSource
from producer.runs.request import ClassificationRequest
from schema.errors import ImageError
from tests.integration.conftest import some_images
from tests.integration.intake.test_classes import npy, parquet

IMAGES, DRAWN = 95, 30


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "READ_IN_PIECES_BYTES", DRAWN * 64 + 1)
    monkeypatch.setattr(find, "READ_IN_PIECES_BYTES", IMAGES * 64)


def large(path: Path, labels: Path | None = None, **options: object) -> LargeSource:
    text = None if labels is None else str(labels)
    found = source_for(ClassificationRequest(data=str(path), labels=text, **options))  # type: ignore[arg-type]
    assert found is not None
    return found


def test_images_are_drawn_of_all_with_their_labels(tmp_path: Path) -> None:
    path, labels = npy(tmp_path, some_images(IMAGES))
    whole = read_images(path, labels)
    assert whole.labels is not None
    places = []
    for seed in range(40):
        few = drawn(large(path, labels), seed)
        where = [int(np.flatnonzero((whole.images == each).all((1, 2)))[0]) for each in few.images]
        assert len(where) == DRAWN
        assert where == sorted(set(where))
        np.testing.assert_array_equal(few.labels, whole.labels[where])
        places += where
    # 40 draws of 30 of 95: each image is drawn 12.6 times, with a standard deviation of 2.9.
    counts = np.bincount(places, minlength=IMAGES)
    assert counts.min() >= 1
    assert counts.max() <= 26


def test_the_validation_set_says_how_many_are_drawn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, _ = parquet(tmp_path, some_images(IMAGES))
    images = read_validation(ClassificationRequest(data=str(path)))
    assert len(images.images) == DRAWN
    assert "30 images of 95 are drawn" in capsys.readouterr().err
    few = read_validation(ClassificationRequest(data=str(path), limit=40))
    np.testing.assert_array_equal(few.images, read_images(path).limit(40).images)


def test_images_are_compared_with_all_parts_of_a_large_source(tmp_path: Path) -> None:
    path, labels = npy(tmp_path, some_images(IMAGES))
    source, whole = large(path, labels), read_images(path, labels)
    others = some_images(20, seed=3)
    refuse_shared(others, source.head(), source)
    with pytest.raises(ImageError, match=r"1 of the 1 image of .* also in a\.npy .*--allow-overlap"):
        refuse_shared(whole.skip(IMAGES - 1), source.head(), source)
