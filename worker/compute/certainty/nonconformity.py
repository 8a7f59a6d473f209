"""Computes how badly the right class of each validation image conforms to its reads, for plans of reads.

The scores are those of `certainty.class_sets`: the sets of classes of later runs rest on them. They are
computed from the stored reads of the run of a calibration whose parameters were chosen, with the unembedding
that was chosen: for each number of reads that was compared, and for the rounds of reads of the parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from schema.codecs import arrays
from schema.codecs.nonconformity import Nonconformity, plan_name
from schema.errors import Corrupt
from schema.parameters import Parameters, Round
from worker.compute import consensus, scoring
from worker.compute.certainty import class_sets
from worker.compute.certainty.gaps import class_energies, energy_gaps, lowest_reads
from worker.network.trained import TrainedNetwork
from worker.qubo.class_states import class_minima
from worker.records.batches import BatchInput, StoredReads

FloatArray = NDArray[np.float64]

_ROUNDING = 1e-9  # of a share: 0.07 x 100 images are 7.000000000000001 in float64


@dataclass(frozen=True, eq=False)
class ReadOutcome:
    """What the first reads of N labelled images make of them.

    Attributes:
        scores: (N,) float64, nonconformity of the right classes.
        gaps: (N,) float64, energy gaps; -inf without a class, inf where no other class has an energy.
    """

    scores: FloatArray
    gaps: FloatArray


def of_batches(
    network: TrainedNetwork,
    batches: Iterable[int],
    parameters: Parameters,
    numbers: Iterable[int],
    load: Callable[[int], tuple[BatchInput, list[StoredReads]]],
) -> Nonconformity:
    """Return the nonconformity of the labelled images of ``batches``, one plan for each of ``numbers``.

    There is one more for ``parameters``, if they have rounds.

    Args:
        parameters: how the reads are unembedded, and the class chosen.
        numbers: of reads, each of them stored.
        load: reads a batch with its sample sets.

    Raises:
        Corrupt: stored images or samples are damaged, or there are no labels.
    """
    rounds = parameters.rounds or ()
    wanted = sorted({*numbers, *_totals(parameters.reads, rounds)})
    found: dict[int, list[ReadOutcome]] = {number: [] for number in wanted}
    labels = []
    for batch in batches:
        batch_input, stored = load(batch)
        if batch_input.labels is None:
            raise Corrupt(f"batch {batch} has no labels: sets of classes cannot be calibrated")
        own = arrays.decode_labels(batch_input.labels, batch_input.shape[0])
        labels.append(own)
        whole = replace(parameters, reads=batch_input.parameters.reads)
        _add(network, replace(batch_input, parameters=whole), stored, own, found)
    outcomes = {number: _joined(parts) for number, parts in found.items()}
    plans = {plan_name({"reads": number}): outcomes[number].scores for number in numbers}
    plans[plan_name(parameters.to_dict())] = scores_of_plan(outcomes, parameters.reads, rounds)
    return Nonconformity(np.concatenate(labels), plans)


def scores_of_plan(outcomes: dict[int, ReadOutcome], reads: int, rounds: Sequence[Round]) -> FloatArray:
    """Return the nonconformity (N,) of images that are read in several rounds.

    In each later round those without a class or with a gap below that of the round, the most uncertain first,
    get its reads besides the earlier ones, up to its share of all images.

    Args:
        outcomes: by the number of reads that an image has after some rounds.
        reads, rounds: the first round, and the later ones.
    """
    known = sorted(outcomes)
    scores = np.stack([outcomes[total].scores for total in known])
    gaps = np.stack([outcomes[total].gaps for total in known])
    images = np.arange(scores.shape[1])
    totals = np.full(len(images), reads)  # of each image
    for later in rounds:
        now = gaps[np.searchsorted(known, totals), images]
        most = max(int(later.share * len(images) + _ROUNDING), 1)
        first = np.argsort(now, kind="stable")[:most]
        totals[first[now[first] < later.gap]] += later.reads
    return np.asarray(scores[np.searchsorted(known, totals), images])


def _totals(reads: int, rounds: Sequence[Round]) -> set[int]:
    """Return the numbers of reads that an image may have after all rounds."""
    totals = {reads}
    for later in rounds:
        totals |= {total + later.reads for total in totals}
    return totals


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
