"""What speaks against a guarantee is found, and the interval of a coverage is that of Wilson."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from schema.codecs import image_digests
from worker.compute.certainty.guarantee import Coverage, comparable, reasons, shared_images
from worker.records.certainty.guarantees import GuaranteeBasis, MeasuredChip

NOW = datetime(2026, 11, 1, tzinfo=UTC)
IMAGES = np.arange(5 * 6, dtype=np.uint8).reshape(5, 2, 3)


def basis(graphs: tuple[str, ...] = ("a",), days: float = 1.0) -> GuaranteeBasis:
    digests = image_digests.seal(image_digests.digests(IMAGES))
    return GuaranteeBasis(
        calibration=1,
        nonconformity=b"",
        image_digests=digests,
        images=len(IMAGES),
        graph_id="a",
        calibrated_at=NOW - timedelta(days=days),
        sampled_by=1,
        run_at=NOW,
        classes=10,
        run_graph_ids=frozenset(graphs),
    )


def chip(beta: float = 4.0, fields: float = 1.0, reads: int = 10, values: int = 3_000) -> list[MeasuredChip]:
    measured = {"beta": beta, "chain_breaks": 0.02, "fields": fields}
    return [MeasuredChip(measured, reads, values)] * 5


def test_nothing_speaks_against_a_guarantee_on_the_same_chip_with_other_images() -> None:
    assert reasons(basis(), 0, chip(), chip(), 30.0) is None
    assert reasons(basis(()), 0, [], [], 30.0) is None


def test_each_reason_is_named() -> None:
    found = reasons(basis(("a", "b"), days=40.0), 2, chip(), chip(beta=2.0), 30.0)
    assert found == (
        "the working graph is b, calibrated on a; the calibration was 40.0 days old, more than 30; 2 "
        "images of the run were calibrated with; the chip has changed: inverse temperature 2.00, "
        "calibrated with 4.00"
    )


def test_field_errors_are_compared_as_of_equally_many_reads() -> None:
    ten, two = comparable(chip(fields=10.0, reads=10), chip(fields=2.0, reads=2))
    assert ten[0]["fields"] == two[0]["fields"] == 2.0
    # Of 100 reads of 3,000 values 13 are examined.
    assert comparable(chip(fields=13.0, reads=100), chip(fields=2.0, reads=2))[0][0]["fields"] == 2.0


def test_shared_images_are_counted() -> None:
    others = IMAGES + 100
    parts = [(IMAGES[:2].tobytes(), 2), (others.tobytes(), 5), (IMAGES[4:].tobytes(), 1)]
    assert shared_images(parts, basis()) == 3


@pytest.mark.parametrize(
    ("images", "covered", "low", "high"),
    [(100, 95, 0.8882, 0.9785), (10, 10, 0.7225, 1.0), (10, 0, 0.0, 0.2775)],
)
def test_the_interval_is_that_of_wilson(images: int, covered: int, low: float, high: float) -> None:
    found = Coverage(images, covered)
    assert found.share == covered / images
    assert found.interval == pytest.approx((low, high), abs=1e-4)
    assert Coverage(0, 0).interval is None
