"""What the first reads of labelled images make of them, from stored reads, for several numbers of reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from schema.codecs import arrays
from schema.errors import Corrupt
from worker.compute import consensus, scoring
from worker.compute.candidates import Choice
from worker.compute.certainty.gaps import class_energies, energy_gaps, lowest_reads
from worker.compute.plans.simulation import Outcomes
from worker.compute.scoring import Reads
from worker.network.trained import TrainedNetwork
from worker.qubo.class_states import class_minima
from worker.records.batches import BatchInput, StoredReads


def find_outcomes(
    network: TrainedNetwork,
    batch_input: BatchInput,
    stored: Sequence[StoredReads],
    choice: Choice,
    numbers: Sequence[int],
) -> Outcomes:
    """Return what the first reads of each image of ``batch_input`` make of it by ``choice``, for each of
    ``numbers`` of reads.

    Raises:
        Corrupt: images or ``stored`` sample sets are damaged, or there are no labels.
    """
    if batch_input.labels is None:
        raise Corrupt(f"batch {batch_input.batch} has no labels: plans of reads cannot be compared")
    labels = arrays.decode_labels(batch_input.labels, batch_input.count)
    parameters = replace(batch_input.parameters, unembedding=choice.unembedding)
    terms = scoring.linear_terms(network, batch_input)
    reads_of_images = scoring.reads_of_images(terms, replace(batch_input, parameters=parameters), stored)
    return join(
        [
            outcomes_of(reads, labels[images], class_minima(terms.model, terms.take(images)), choice, numbers)
            for images, reads in reads_of_images
        ]
    )


def outcomes_of(
    reads: Reads,
    labels: NDArray[np.integer],
    minima: NDArray[np.float64] | None,
    choice: Choice,
    numbers: Sequence[int],
) -> Outcomes:
    """Return what the first of the ``reads`` of B images make of them by the rule of ``choice``.

    Args:
        labels: (B,) integers.
        minima: (B, K) float64, exact lowest energies of the classes; None where they are not known.
        numbers: of reads, ascending, at most all of them.
    """
    right = np.empty((len(numbers), len(labels)), np.bool_)
    gaps = np.empty(right.shape)
    for row, number in enumerate(numbers):
        first = scoring.first_reads(reads, number)
        predicted = consensus.score(
            first.class_bits, first.energies, choice.rule, choice.fraction, choice.beta, first.occurrences
        ).predicted
        lowest = lowest_reads(first.class_bits, first.energies, first.occurrences)
        found = energy_gaps(class_energies(lowest, minima), predicted)
        right[row] = predicted == labels
        gaps[row] = np.where(predicted < 0, -np.inf, np.where(np.isnan(found), np.inf, found))
    return Outcomes(tuple(numbers), right, gaps)


def join(parts: Sequence[Outcomes]) -> Outcomes:
    """Return the outcomes of the images of all ``parts``, in order."""
    right, gaps = zip(*((part.right, part.gaps) for part in parts), strict=True)
    return Outcomes(parts[0].reads, np.concatenate(right, axis=1), np.concatenate(gaps, axis=1))
