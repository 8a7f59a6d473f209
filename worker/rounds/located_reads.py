"""Finds out which problems of a run have reads of the images of a batch, and which of these reads count."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from worker.records.batches import BatchInput, StoredReads

Load = Callable[[int], StoredReads]  # the sample set of a problem


@dataclass(frozen=True, eq=False)
class StoredProblem:
    """An answered problem of a run, without its reads.

    Attributes:
        round: in which it was sent.
        reads: of each image.
        images: indices of its images within the run.
    """

    problem: int
    round: int
    reads: int
    images: Sequence[int]


@dataclass(frozen=True, eq=False)
class LocatedReads:
    """Reads of some images of a batch: (m,) ``images`` within the batch, at ``places`` in the problem."""

    problem: int
    round: int
    reads: int
    images: NDArray[np.intp]
    places: NDArray[np.intp]


def locate(
    batch_input: BatchInput,
    problems: Sequence[StoredProblem],
    most: int,
    images: Collection[int] | None = None,
) -> list[LocatedReads]:
    """Return which of ``problems`` have reads of images of ``batch_input``, in the order of the rounds.

    Args:
        most: reads of an image that count: its first ones.
        images: within the batch; None: all, without those of a batch of the first round that have reads in
            one problem only.
    """
    numbers = np.asarray(batch_input.image_numbers)
    order = np.argsort(numbers)
    found = []
    for each in sorted(problems, key=lambda problem: (problem.round, problem.problem)):
        theirs = np.asarray(each.images, np.int64)
        index = np.searchsorted(numbers, theirs, sorter=order)
        rows = order[np.minimum(index, len(numbers) - 1)]
        places = np.flatnonzero(numbers[rows] == theirs)
        found.append(LocatedReads(each.problem, each.round, each.reads, rows[places], places))
    times = np.bincount(np.concatenate([np.empty(0, np.intp), *(each.images for each in found)]))
    wanted = times > (1 if batch_input.round == 1 else 0)
    if images is not None:
        wanted = np.isin(np.arange(len(times)), list(images))
    return list(_first_reads(found, wanted, most))


def _first_reads(
    found: Sequence[LocatedReads], wanted: NDArray[np.bool_], most: int
) -> Iterator[LocatedReads]:
    """Yield those reads of ``found``, in the order of the rounds, that are the first ``most`` of an image.

    ``wanted`` says which images are, (N,).
    """
    had = np.zeros(len(wanted), np.int64)
    for each in found:
        reads = np.where(wanted[each.images], np.minimum(each.reads, most - had[each.images]), 0)
        had[each.images] += reads
        for number in np.unique(reads[reads > 0]).tolist():
            chosen = reads == number
            yield replace(each, reads=number, images=each.images[chosen], places=each.places[chosen])
