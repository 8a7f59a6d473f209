"""Computes what the sets of classes of a finished run turned out to be, and whether their guarantee holds.

It holds for images that are exchangeable with those that were calibrated with, and were read in the same way.
What can be seen of that is compared: the chip by its own measurements, its graph, the age of the calibration,
and images that are in both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from math import sqrt
from statistics import median
from typing import Any

import numpy as np

from schema.codecs import image_digests
from schema.codecs.arrays import decode_class_sets
from schema.quantities import count_text
from worker.compute import chip_alarm
from worker.compute.problem_checks import examined_reads
from worker.records.certainty.guarantees import GuaranteeBasis, MeasuredChip

_NORMAL = 1.96  # of a 95 % interval
_NOISE = ("beta", "chain_breaks", "fields")


@dataclass(frozen=True)
class Coverage:
    """How many of the labelled images have a set that holds their label."""

    images: int
    covered: int

    @property
    def share(self) -> float | None:
        """Return the share of images whose set holds their label; None without labels."""
        return self.covered / self.images if self.images else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Return its 95 % interval (Wilson 1927, Probable inference); None without labels."""
        if not self.images:
            return None
        n, share = self.images, self.covered / self.images
        middle = share + _NORMAL**2 / (2 * n)
        half = _NORMAL * sqrt(share * (1 - share) / n + _NORMAL**2 / (4 * n * n))
        return max((middle - half) / (1 + _NORMAL**2 / n), 0.0), min(
            (middle + half) / (1 + _NORMAL**2 / n), 1.0
        )


def coverage(pages: Iterable[tuple[list[bytes], Sequence[int]]], classes: int) -> Coverage:
    """Return the coverage of labelled images by ``pages`` of their stored sets and labels.

    Raises:
        Corrupt: a stored set is damaged.
    """
    images = covered = 0
    for stored, labels in pages:
        sets = decode_class_sets(stored, classes)
        images += len(sets)
        covered += int(sets[np.arange(len(sets)), labels].sum())
    return Coverage(images, covered)


def shared_images(batches: Iterable[tuple[bytes, int]], basis: GuaranteeBasis) -> int:
    """Return how many images of ``batches``, encoded, with their numbers, are among those of ``basis``.

    Raises:
        Corrupt: the digests of the calibration are damaged.
    """
    known = image_digests.unseal(basis.image_digests, basis.images)
    shared = 0
    for data, images in batches:
        own = image_digests.digests(np.frombuffer(data, np.uint8).reshape(images, -1))
        shared += len(image_digests.shared_images(own, known))
    return shared


def reasons(
    basis: GuaranteeBasis,
    shared: int,
    calibrated: Sequence[MeasuredChip],
    measured: Sequence[MeasuredChip],
    most_days: float,
) -> str | None:
    """Return why the guarantee of a run does not hold; None: nothing speaks against it.

    Args:
        basis: calibration and run.
        shared: images that both have.
        calibrated, measured: what was measured of good problems of the calibration, and of the run.
        most_days: age at which a calibration is too old.
    """
    found = []
    if other := sorted(basis.run_graph_ids - {basis.graph_id}):
        found.append(f"the working graph is {', '.join(other)}, calibrated on {basis.graph_id or 'none'}")
    age = basis.run_at - basis.calibrated_at
    if age > timedelta(days=most_days):
        found.append(f"the calibration was {age / timedelta(days=1):.1f} days old, more than {most_days:g}")
    if shared:
        found.append(
            f"{count_text(shared, 'image')} of the run {'was' if shared == 1 else 'were'} calibrated with"
        )
    past, now = comparable(calibrated, measured)
    if past and now and (drift := chip_alarm.compare(past, now)):
        found.append(f"the chip has changed: {drift}")
    return "; ".join(found) or None


def comparable(
    calibrated: Sequence[MeasuredChip], measured: Sequence[MeasuredChip]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return what was measured of both, so that it can be compared.

    Field errors grow with the reads that are examined: those of both are scaled to the fewer.
    """
    if not calibrated or not measured:
        return [each.measured for each in calibrated], [each.measured for each in measured]
    fewer = min(median(_examined(each) for each in both) for both in (calibrated, measured))
    return tuple(  # type: ignore[return-value]
        [{**each.measured, "fields": each.measured["fields"] * fewer / _examined(each)} for each in both]
        for both in (calibrated, measured)
    )


def noise(calibrated: Sequence[MeasuredChip], measured: Sequence[MeasuredChip]) -> dict[str, Any] | None:
    """Return the medians of what was measured of the calibration and of the run; None if neither has any."""
    both = zip(("calibrated", "run"), comparable(calibrated, measured), strict=True)
    known = {name: _medians(problems) for name, problems in both if problems}
    return known or None


def _medians(problems: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    return {name: median(float(each[name]) for each in problems) for name in _NOISE}


def _examined(problem: MeasuredChip) -> int:
    return examined_reads(problem.reads, problem.values)
