"""Computes how badly the right class of each validation image conforms to its reads, for plans of reads.

The scores are those of `certainty.class_sets`: the sets of classes of later runs rest on them. They are
computed from the stored reads of the run of a calibration whose parameters were chosen, with the unembedding
that was chosen: for each number of reads that was compared, and for each plan of rounds of reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from schema.codecs import arrays
from schema.codecs.nonconformity import Nonconformity, plan_name
from schema.errors import Corrupt
from schema.parameters import Parameters
from worker.compute import consensus, scoring
from worker.compute.certainty import class_sets
from worker.compute.certainty.gaps import class_energies, energy_gaps, lowest_reads
from worker.compute.plans.simulation import ReadPlan
from worker.network.trained import TrainedNetwork
from worker.qubo.class_states import class_minima
from worker.records.batches import BatchInput, StoredReads

FloatArray = NDArray[np.float64]


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
    plans: Sequence[ReadPlan],
    load: Callable[[int], tuple[BatchInput, list[StoredReads]]],
) -> Nonconformity:
    """Return the nonconformity of the labelled images of ``batches`` for each of ``plans``.

    Args:
        parameters: how the reads are unembedded, and the class chosen.
        plans: of reads, of which at most as many as are stored.
        load: reads a batch with its sample sets.

    Raises:
        Corrupt: stored images or samples are damaged, or there are no labels.
    """
    wanted = set[int]().union(*(_totals(plan) for plan in plans))
    found: dict[int, list[ReadOutcome]] = {number: [] for number in sorted(wanted)}
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
    scores = {_name(plan): scores_of_plan(outcomes, plan) for plan in plans}
    return Nonconformity(np.concatenate(labels), scores)


def scores_of_plan(outcomes: dict[int, ReadOutcome], plan: ReadPlan) -> FloatArray:
    """Return the nonconformity (N,) of images that are read in several rounds.

    In each later round those without a class or with a gap below that of the round get its reads besides the
    earlier ones. ``outcomes`` are by the number of reads that an image has after some rounds.
    """
    known = sorted(outcomes)
    scores = np.stack([outcomes[total].scores for total in known])
    gaps = np.stack([outcomes[total].gaps for total in known])
    images = np.arange(scores.shape[1])
    totals = np.full(len(images), plan.reads)  # of each image
    for later in plan.later:
        totals[gaps[np.searchsorted(known, totals), images] < later.gap] += later.reads
    return np.asarray(scores[np.searchsorted(known, totals), images])


def _name(plan: ReadPlan) -> str:
    return plan_name({"reads": plan.reads, "rounds": [(later.reads, later.gap) for later in plan.later]})


def _totals(plan: ReadPlan) -> set[int]:
    """Return the numbers of reads that an image may have after all rounds of ``plan``."""
    totals = {plan.reads}
    for later in plan.later:
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
