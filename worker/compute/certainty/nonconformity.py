"""Computes how badly the right class of each validation image conforms to its reads, for rounds of reads.

The scores are those of `certainty.class_sets`: the sets of classes of later runs rest on them. They are
computed from the stored reads of the run of a calibration whose parameters were chosen, with the unembedding
and the rule that were chosen, for each number of reads that an image may have after some rounds. So
validation images can be followed through the same rounds as the images of a run.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from schema.codecs import arrays
from schema.codecs.nonconformity import Nonconformity, ReadOutcome
from schema.errors import Corrupt
from schema.parameters import Parameters
from worker.compute import consensus, scoring
from worker.compute.certainty import class_sets
from worker.compute.certainty.gaps import class_energies, energy_gaps, lowest_reads
from worker.network.trained import TrainedNetwork
from worker.qubo.class_states import class_minima
from worker.records.batches import BatchInput, StoredReads


def of_batches(
    network: TrainedNetwork,
    batches: Iterable[int],
    parameters: Parameters,
    numbers: Collection[int],
    load: Callable[[int], tuple[BatchInput, list[StoredReads]]],
) -> Nonconformity:
    """Return the nonconformity of the labelled images of ``batches`` for each of ``numbers`` of reads.

    Args:
        parameters: how the reads are unembedded, and the class chosen.
        numbers: of which none is above that of the stored reads.
        load: reads a batch with its sample sets.

    Raises:
        Corrupt: stored images or samples are damaged, or there are no labels.
    """
    found: dict[int, list[ReadOutcome]] = {number: [] for number in sorted(numbers)}
    labels = []
    for batch in batches:
        batch_input, stored = load(batch)
        if batch_input.labels is None:
            raise Corrupt(f"batch {batch} has no labels: sets of classes cannot be calibrated")
        own = arrays.decode_labels(batch_input.labels, batch_input.count)
        labels.append(own)
        whole = replace(parameters, reads=batch_input.parameters.reads)
        _add(network, replace(batch_input, parameters=whole), stored, own, found)
    outcomes = {number: _joined(parts) for number, parts in found.items()}
    return Nonconformity(np.concatenate(labels), outcomes)


def _add(
    network: TrainedNetwork,
    batch_input: BatchInput,
    stored: Sequence[StoredReads],
    labels: NDArray[np.int16],
    found: dict[int, list[ReadOutcome]],
) -> None:
    """Add to ``found`` what the reads of one batch make of its images."""
    terms = scoring.linear_terms(network, batch_input)
    for images, reads in scoring.reads_of_images(terms, batch_input, stored):
        minima = class_minima(terms.model, terms.take(images))
        for number, parts in found.items():
            part = scoring.first_reads(reads, number)
            lowest = lowest_reads(part.class_bits, part.energies, part.occurrences)
            energies = class_energies(lowest, minima)
            predicted = _predicted(batch_input.parameters, part)
            gaps = energy_gaps(energies, predicted)
            gaps = np.where(predicted < 0, -np.inf, np.where(np.isnan(gaps), np.inf, gaps))
            parts.append(ReadOutcome(class_sets.of_labels(energies, labels[images]), gaps))


def _predicted(parameters: Parameters, reads: scoring.Reads) -> NDArray[np.int16]:
    return consensus.score(
        reads.class_bits,
        reads.energies,
        rule=parameters.rule,
        fraction=parameters.fraction,
        beta=parameters.beta,
        occurrences=reads.occurrences,
    ).predicted


def _joined(parts: Sequence[ReadOutcome]) -> ReadOutcome:
    return ReadOutcome(
        np.concatenate([part.scores for part in parts]), np.concatenate([part.gaps for part in parts])
    )
