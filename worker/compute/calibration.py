"""Compares sampling parameters on the raw samples of a calibration's runs. No database, no queue."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace

import numpy as np
from numpy.typing import NDArray

from schema.errors import AnnealqError
from schema.parameters import Solver
from schema.states import RunState
from worker.compute import candidates, scoring
from worker.network.trained import TrainedNetwork
from worker.records.batches import BatchInput, StoredReads
from worker.records.calibrations import CalibrationJob, Candidate, FittedParameters

_COMPARED = ("lam", "sweeps", "chain_strength", "scale")  # what the runs of a calibration differ in

Load = Callable[[int], tuple[BatchInput, list[StoredReads]]]  # a batch with its sample sets


def calibrate(network: TrainedNetwork, job: CalibrationJob, load: Load) -> FittedParameters:
    """Choose the parameters of ``network``: compare every number of reads and every rule on each run's
    samples.

    ``job`` names the runs; ``load`` reads their batches one at a time.

    Raises:
        AnnealqError: a run of the calibration did not finish well.
        Corrupt: stored images or samples are damaged.
    """
    _refuse_failed(job)
    among = candidates.list_choices(job.candidates[0].parameters.reads)
    right = np.array([_count(network, candidate, among, load) for candidate in job.candidates])
    costs = np.array([_costs(job.solver, candidate, among) for candidate in job.candidates])
    row, column = candidates.choose_cheapest(right, costs, job.images)
    measured = {
        "candidates": [
            {"run": candidate.run, **{name: getattr(candidate.parameters, name) for name in _COMPARED}}
            for candidate in job.candidates
        ],
        "choices": [asdict(choice) for choice in among],
        "right": right.tolist(),
    }
    parameters = replace(job.candidates[row].parameters, **asdict(among[column]))
    return FittedParameters(parameters, int(right[row, column]) / job.images, measured, _graph(job))


def _costs(solver: Solver, candidate: Candidate, among: Sequence[candidates.Choice]) -> NDArray[np.float64]:
    """Return the cost of an image with each choice, (C,) float64: QPU time if it is charged, else sweeps."""
    reads = np.array([choice.reads for choice in among], dtype=np.float64)
    if solver.is_remote:
        return candidate.fixed_us + candidate.read_us * reads
    return scoring.sweeps(solver, candidate.parameters) * reads


def _graph(job: CalibrationJob) -> str:
    graphs = frozenset().union(*(candidate.graph_ids for candidate in job.candidates))
    if len(graphs) > 1:
        raise AnnealqError(
            f"the solver's graph changed meanwhile ({', '.join(sorted(graphs))}): calibrate again"
        )
    return next(iter(graphs), "")


def _refuse_failed(job: CalibrationJob) -> None:
    if not job.candidates:
        raise AnnealqError("the calibration has no runs")
    for candidate in job.candidates:
        if candidate.state is not RunState.DONE:
            why = f": {candidate.error}" if candidate.error else ""
            raise AnnealqError(f"run {candidate.run}, made for this calibration, is {candidate.state}{why}")


def _count(
    network: TrainedNetwork, candidate: Candidate, among: Sequence[candidates.Choice], load: Load
) -> NDArray[np.int64]:
    """Count the images of one run that each choice predicts right, (C,) int64."""
    right = np.zeros(len(among), dtype=np.int64)
    for batch in candidate.batches:
        right += scoring.count_right(network, *load(batch), among)
    return right
