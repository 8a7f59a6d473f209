"""Compares two runs of the same images: agreement, McNemar's test, where they differ, and QPU time."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, erfc, sqrt

import numpy as np
from numpy.typing import NDArray
from rich.console import Group, RenderableType
from sqlalchemy import select
from sqlalchemy.orm import Session

from producer.reports.certainty import CLASSICAL
from producer.reports.terminal import new_grid, new_table
from producer.runs import queries, results
from schema.codecs import arrays
from schema.errors import ParameterError
from schema.network.reliability import Losses, LossSums
from schema.quantities import count_text
from schema.shards.reference import encoded_images
from schema.tables import Batch, BatchImages

_EXACT = 1_000  # images that one run alone has right, up to which the test is computed exactly
_SHOWN = 20
_PAGE = 10_000  # images whose probabilities are decoded at once


@dataclass(frozen=True)
class Difference:
    """An image that two runs classify differently; None is undecided, or a label that is not known."""

    image: int
    label: str | None
    first: str | None
    second: str | None


@dataclass(frozen=True)
class RunComparison:
    """Two runs over the same images.

    Attributes:
        runs: their numbers.
        networks: `NAME@VERSION` of each.
        images: that both have classified.
        agree: of these, images with the same class.
        labelled: of these, images with a label.
        right: of these, images that each run has right.
        only_first_right, only_second_right: images that one run alone has right.
        p_value: of McNemar's test, two-sided: the probability of a difference at least as large if the runs
            were equally accurate; None without labels.
        losses: how far the probabilities of each are from the labels, of those images that both have
            classified; None without labels, or in runs of earlier versions.
        provisional: whether a later round of reads may change each.
        qpu_time_us: charged to each, microseconds.
        differences: where they differ, in the order of the images.
    """

    runs: tuple[int, int]
    networks: tuple[str, str]
    images: int
    agree: int
    labelled: int
    right: tuple[int, int]
    only_first_right: int
    only_second_right: int
    p_value: float | None
    losses: tuple[Losses | None, Losses | None]
    provisional: tuple[bool, bool]
    qpu_time_us: tuple[float, float]
    differences: tuple[Difference, ...]


def compare_runs(session: Session, first: int, second: int) -> RunComparison:
    """Compare the runs ``first`` and ``second``, read by ``session``.

    Raises:
        NotFound: one of them does not exist.
        ParameterError: their images differ, or none is classified by both.
    """
    both = [queries.run(session, first), queries.run(session, second)]
    if _digest(session, both[0]) != _digest(session, both[1]):
        raise ParameterError(
            f"runs {first} and {second} have different images: compare runs of the same data, "
            f"{both[0].name} or {both[1].name}"
        )
    names = [queries.classes(session, run.run_id) for run in both]
    others = {image.image: image for image in queries.classified(session, second)}
    images = agree = labelled = right_first = right_second = only_first = only_second = 0
    differences = []
    pages = [_Probabilities(run.run_id, len(classes)) for run, classes in zip(both, names, strict=True)]
    for one in queries.classified(session, first):
        other = others.get(one.image)
        if other is None:
            continue
        images += 1
        texts = [
            None if image.predicted is None else classes[image.predicted]
            for image, classes in zip((one, other), names, strict=True)
        ]
        label = None if one.label is None else names[0][one.label]
        if label is not None:
            labelled += 1
            for page, image in zip(pages, (one, other), strict=True):
                page.add(image)
            is_right = [text == label for text in texts]
            right_first += is_right[0]
            right_second += is_right[1]
            only_first += is_right[0] and not is_right[1]
            only_second += is_right[1] and not is_right[0]
        if texts[0] == texts[1]:
            agree += 1
        else:
            differences.append(Difference(one.image, label, texts[0], texts[1]))
    if not images:
        raise ParameterError(f"no image is classified by both runs: wait, `annealq runs watch {second}`")
    return RunComparison(
        runs=(first, second),
        networks=(both[0].network, both[1].network),
        images=images,
        agree=agree,
        labelled=labelled,
        right=(right_first, right_second),
        only_first_right=only_first,
        only_second_right=only_second,
        p_value=mcnemar(only_first, only_second) if labelled else None,
        losses=(pages[0].losses(), pages[1].losses()),
        provisional=(both[0].is_provisional, both[1].is_provisional),
        qpu_time_us=(_qpu_time_us(both[0]), _qpu_time_us(both[1])),
        differences=tuple(differences),
    )


class _Probabilities:
    """Labelled images of a run, whose probabilities are compared with the labels."""

    def __init__(self, run: int, classes: int) -> None:
        self._run, self._classes = run, classes
        self._sums = LossSums()
        self._page: list[tuple[NDArray[np.float32], int, int]] = []

    def add(self, image: queries.Classified) -> None:
        """Add ``image``, which has a label; one without probabilities is left out.

        Raises:
            Corrupt: its probabilities are damaged.
        """
        shares = results.probabilities_of(self._run, image, self._classes)
        if shares is None or image.label is None:
            return
        self._page.append((shares, image.label, -1 if image.predicted is None else image.predicted))
        if len(self._page) == _PAGE:
            self._sum()

    def losses(self) -> Losses | None:
        """Return the losses of the images so far; None if there are none."""
        self._sum()
        return self._sums.losses()

    def _sum(self) -> None:
        if self._page:
            shares, labels, predicted = zip(*self._page, strict=True)
            self._sums.add(np.stack(shares), np.array(labels), np.array(predicted))
            self._page = []


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the two-sided p-value of McNemar's test, from images that one of two runs alone has right.

    Exact by the binomial distribution (Dwass 1957), for many images by its normal approximation with a
    continuity correction (Edwards 1948).

    Examples:
        >>> round(mcnemar(1, 9), 4)
        0.0215
        >>> mcnemar(0, 0)
        1.0
    """
    total, fewer = only_first + only_second, min(only_first, only_second)
    if total <= _EXACT:
        tail: float = 2 * sum(comb(total, k) for k in range(fewer + 1)) / 2**total
        return min(1.0, tail)
    return erfc(max(0.0, abs(only_first - only_second) - 1.0) / sqrt(2 * total))


def comparison_text(comparison: RunComparison) -> RenderableType:
    """Return ``comparison`` as `runs compare` prints it."""
    first, second = comparison.runs
    grid = new_grid()
    grid.add_row("runs", f"{first} by {comparison.networks[0]}, {second} by {comparison.networks[1]}")
    same = comparison.agree / comparison.images
    grid.add_row(
        "agreement",
        f"{same:.2%}: the same class for {comparison.agree:,} of {count_text(comparison.images, 'image')}",
    )
    if comparison.p_value is not None:
        shares = [f"{right / comparison.labelled:.2%}" for right in comparison.right]
        grid.add_row("accuracy", f"{shares[0]} and {shares[1]} of {count_text(comparison.labelled, 'image')}")
        rows = loss_rows(comparison.losses)
        for name, one, other in rows:
            grid.add_row(name, f"{one} and {other}")
        if rows:
            grid.add_row("", f"probabilities {CLASSICAL}")
        grid.add_row(
            "right in one alone",
            f"{comparison.only_first_right:,} and {count_text(comparison.only_second_right, 'image')}",
        )
        grid.add_row("McNemar's test", f"p = {comparison.p_value:.2g}: {_verdict(comparison.p_value)}")
    for run, provisional in zip(comparison.runs, comparison.provisional, strict=True):
        if provisional:
            grid.add_row("provisional", f"run {run}: a later round of reads may change its results")
    if any(comparison.qpu_time_us):
        times = [f"{us / 1e6:,.3f} s" for us in comparison.qpu_time_us]
        grid.add_row("QPU time", f"{times[0]} and {times[1]}")
    if not comparison.differences:
        return grid
    table = new_table("image", "label", f"run {first}", f"run {second}", right=("image",))
    for each in comparison.differences[:_SHOWN]:
        table.add_row(
            str(each.image), each.label or "", each.first or "undecided", each.second or "undecided"
        )
    rest = len(comparison.differences) - _SHOWN
    more = [f"{rest:,} more: --json has all"] if rest > 0 else []
    return Group(grid, table, *more)


def loss_rows(losses: Sequence[Losses | None]) -> list[tuple[str, ...]]:
    """Return rows of a name and the value of each of ``losses``, for display; no rows if there are none."""
    if not any(losses):
        return []
    shown = [["unknown"] * 3 if each is None else _texts(each) for each in losses]
    names = ("ECE", "negative log-likelihood", "Brier score")
    return [(name, *(texts[k] for texts in shown)) for k, name in enumerate(names)]


def _texts(losses: Losses) -> list[str]:
    error = losses.calibration_error
    return [
        "unknown" if error is None else f"{error:.2%}",
        f"{losses.negative_log_likelihood:.4f}",
        f"{losses.brier_score:.4f}",
    ]


def _verdict(p_value: float) -> str:
    if p_value < 0.05:
        return "chance alone seldom makes such a difference"
    return "chance alone may make such a difference"


def _qpu_time_us(run: queries.RunSummary) -> float:
    return float((run.statistics or {}).get("qpu_access_time_us") or 0.0)


def _digest(session: Session, run: queries.RunSummary) -> str:
    """Return the digest of the pixels of ``run``, whatever its batches are."""
    query = (
        select(Batch.count.label("size"), Batch.shape, Batch.dtype, BatchImages.images, BatchImages.reference)
        .join(BatchImages, BatchImages.batch_id == Batch.id)
        .where(Batch.run_id == (run.rescored_from or run.run_id))
        .order_by(Batch.ordinal)
        .execution_options(yield_per=16)
    )
    digest = hashlib.sha256()
    for index, (size, shape, dtype, images, reference) in enumerate(session.execute(query)):
        if index == 0:
            digest.update(f"{shape} {dtype}".encode())
        encoded = encoded_images(images, reference)
        digest.update(arrays.read_images(encoded, size, arrays.read_shape(shape, dtype)))
    return digest.hexdigest()
