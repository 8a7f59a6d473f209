"""Compares sampling parameters on the raw samples of a calibration's runs. No database, no queue."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schema.codecs import arrays
from schema.codecs import nonconformity as codec
from schema.errors import AnnealqError
from schema.states import RunState
from worker.annealers import local
from worker.compute import candidates, scoring
from worker.compute.certainty import nonconformity
from worker.compute.plans.choice import Prices, compare_plans
from worker.compute.plans.outcomes import find_outcomes, join
from worker.compute.plans.simulation import numbers_of_reads
from worker.network.objective import scores_of_features
from worker.network.temperature import fit_temperature, losses_of
from worker.network.trained import TrainedNetwork
from worker.records.batches import BatchInput, StoredReads
from worker.records.calibrations import CalibrationJob, Candidate, FittedParameters

_COMPARED = (
    "lam",
    "sweeps",
    "chain_strength",
    "scale",
    "visible",
)  # what the runs of a calibration differ in

Load = Callable[[int], tuple[BatchInput, list[StoredReads]]]  # a batch with its sample sets


def calibrate(network: TrainedNetwork, job: CalibrationJob, load: Load) -> FittedParameters:
    """Choose the parameters of ``network``: compare every number of reads, unembedding and rule on each run's
    samples.

    ``job`` names the runs; ``load`` reads their batches one at a time.

    Raises:
        AnnealqError: a run of the calibration did not finish well.
        Corrupt: stored images or samples are damaged.
    """
    _refuse_failed(job)
    unembeddings = candidates.UNEMBEDDINGS if job.solver.is_remote else candidates.UNEMBEDDINGS[:1]
    among = candidates.list_choices(job.candidates[0].parameters.reads, unembeddings)
    right = np.array([_find_right(network, candidate, among, load) for candidate in job.candidates])
    costs = np.array([_costs(candidate, among, job) for candidate in job.candidates])
    row, column = candidates.choose_cheapest(right, costs)
    counts = right.sum(axis=2)
    measured = {
        "candidates": [
            {
                "run": candidate.run,
                **{name: getattr(candidate.parameters, name) for name in _COMPARED},
                "spent_us": candidate.spent_us,
                "tiles": candidate.tiles,
                **dict(zip(("fixed_us", "read_us"), _charges(candidate, job), strict=True)),
                # The choice that would be made if there were no other candidate.
                "best": candidates.choose_cheapest(right[k : k + 1], costs[k : k + 1])[1],
                "costs": costs[k].tolist(),
            }
            for k, candidate in enumerate(job.candidates)
        ],
        "choices": [asdict(choice) for choice in among],
        "right": counts.tolist(),
        "chosen": [row, column],
        "trained_on": job.trained_on,
        "spent_us": round(sum(candidate.spent_us for candidate in job.candidates), 1),
    }
    measured |= _fit_temperature(network, job, load)
    measured["plans"] = _compare_plans(network, job, job.candidates[row], among[column], load)
    parameters = replace(job.candidates[row].parameters, **asdict(among[column]))
    numbers = _numbers(among, measured["plans"]["listed"])
    scores = nonconformity.of_batches(network, job.candidates[row].batches, parameters, numbers, load)
    accuracy = int(counts[row, column]) / job.images
    return FittedParameters(parameters, accuracy, measured, _graph(job), codec.encode(scores))


def _compare_plans(
    network: TrainedNetwork,
    job: CalibrationJob,
    candidate: Candidate,
    choice: candidates.Choice,
    load: Load,
) -> dict[str, Any]:
    """Return the plans of reads for ``candidate`` and ``choice`` that are worth their cost."""
    numbers = numbers_of_reads(candidate.parameters.reads)
    parts = [find_outcomes(network, *load(batch), choice, numbers) for batch in candidate.batches]
    prices = Prices(1, 0.0, float(local.sweeps(job.solver, candidate.parameters)))
    if job.solver.is_remote:
        prices = Prices(candidate.tiles, *_charges(candidate, job))
    return compare_plans(join(parts), prices)


def _numbers(among: Sequence[candidates.Choice], listed: Sequence[Mapping[str, Any]]) -> set[int]:
    """Return the numbers of reads that an image may have in a run with this calibration.

    They are those of fixed numbers, of rounds that end with all stored reads, and of plans ``listed``.
    """
    fixed = {choice.reads for choice in among}
    found = fixed | set(numbers_of_reads(max(fixed)))
    return found.union(
        *(codec.totals(each["reads"], [reads for reads, _ in each["rounds"]]) for each in listed)
    )


def _fit_temperature(network: TrainedNetwork, job: CalibrationJob, load: Load) -> dict[str, Any]:
    """Return the temperature of the probabilities of ``network`` on the images of ``job``, and their losses.

    The temperature is None if the network itself has too few of them wrong to determine it; probabilities
    then have that of the network.
    """
    scores: list[NDArray[np.float64]] = []
    labels: list[NDArray[np.int16]] = []
    for batch in job.candidates[0].batches:
        batch_input, _ = load(batch)
        count = batch_input.count
        terms = scoring.linear_terms(network, batch_input)
        scores.append(scores_of_features(network.module, terms.features(slice(0, count)), network.transfer))
        labels.append(arrays.decode_labels(batch_input.labels or b"", count))
    held_out, joined, right = job.trained_on == 0, np.concatenate(scores), np.concatenate(labels)
    found = fit_temperature(joined, right, held_out=held_out)
    used = network.temperature if found is None else found.value
    return {
        "temperature": None if found is None else found.to_dict(),
        "losses": losses_of(joined, right, used),
    }


def _costs(
    candidate: Candidate, among: Sequence[candidates.Choice], job: CalibrationJob
) -> NDArray[np.float64]:
    """Return the cost of an image with each choice, (C,) float64: QPU time if it is charged, else sweeps.

    QPU time is that of full problems, in microseconds: the mean of all runs of ``job`` with the same visible
    units, since their problems differ in nothing that costs time, and charges vary a little.
    """
    reads = np.array([choice.reads for choice in among], dtype=np.float64)
    if not job.solver.is_remote:
        return local.sweeps(job.solver, candidate.parameters) * reads
    fixed_us, read_us = _charges(candidate, job)
    return np.round((fixed_us + read_us * reads) / candidate.tiles, 1)


def _charges(candidate: Candidate, job: CalibrationJob) -> tuple[float, float]:
    """Return the charge of a problem of ``candidate`` apart from its reads, and that of a read, in us."""
    alike = [one for one in job.candidates if one.parameters.visible is candidate.parameters.visible]
    return fmean(one.fixed_us for one in alike), fmean(one.read_us for one in alike)


def _graph(job: CalibrationJob) -> str:
    graphs = frozenset().union(*(candidate.graph_ids for candidate in job.candidates))
    if len(graphs) > 1:
        raise AnnealqError(
            f"the solver's graph changed meanwhile ({', '.join(sorted(graphs))}): calibrate again"
        )
    return next(iter(graphs), "")


def _refuse_failed(job: CalibrationJob) -> None:
    if not job.candidates:
        raise AnnealqError(job.refusal or "the calibration has no runs")
    for candidate in job.candidates:
        if candidate.state is not RunState.DONE:
            why = f": {candidate.error}" if candidate.error else ""
            raise AnnealqError(f"run {candidate.run}, made for this calibration, is {candidate.state}{why}")


def _find_right(
    network: TrainedNetwork, candidate: Candidate, among: Sequence[candidates.Choice], load: Load
) -> NDArray[np.bool_]:
    """Return which of the N images of one run each choice predicts right, (C, N) bool."""
    parts = [scoring.find_right(network, *load(batch), among) for batch in candidate.batches]
    return np.concatenate(parts, axis=1)
