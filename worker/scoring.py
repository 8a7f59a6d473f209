"""From a batch's bytes to its raw reads, and from raw reads to scores. No database, no queue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schema import arrays, samples
from schema.errors import Corrupt
from schema.parameters import Parameters, Solver
from worker import consensus
from worker.annealers.base import LocalAnnealer
from worker.annealers.exact import ExactAnnealer
from worker.annealers.simulated import SimulatedAnnealer
from worker.batches import Scored, Work
from worker.network.registry import TrainedNetwork
from worker.qubo import calibrate
from worker.qubo.build import EnergyModel
from worker.qubo.noise import noise_for


@dataclass(frozen=True, eq=False)
class Drawn:
    """Raw reads as bytes, how many variables they have, and the time inside the annealer."""

    data: bytes
    variables: int
    sampling_us: int


def annealer(solver: Solver, parameters: Parameters) -> LocalAnnealer:
    """The annealer in this process that goes by a solver's name."""
    if solver is Solver.EXACT:
        return ExactAnnealer()
    return SimulatedAnnealer() if parameters.sweeps is None else SimulatedAnnealer(sweeps=parameters.sweeps)


def draw(network: TrainedNetwork, work: Work) -> Drawn:
    """Sample every image of a batch.

    Raises:
        Corrupt: the stored images are damaged.
        Refused: the solver cannot take this network.
    """
    parameters = work.parameters
    model, linear = _energy(network, work)
    solver = annealer(work.solver, parameters)
    noise = noise_for(model, network.architecture.alpha, parameters.noise, parameters.seed)
    drawn = solver.sample(model, linear, parameters.reads, parameters.seed, work.first_image, noise)
    data = samples.encode(samples.SampleSet(drawn.bits, drawn.energies.astype(np.float32)))
    return Drawn(data, model.units, round(drawn.elapsed_s * 1e6))


def score(network: TrainedNetwork, work: Work, stored: list[tuple[int, int, bytes]]) -> list[Scored]:
    """Consensus class scores of a batch from its stored sample sets; one row for each image.

    Raises:
        Corrupt: images or sample sets are damaged, or hold fewer reads than the run counts on.
    """
    class_bits, energies = _reads(network, work, stored)
    scored = consensus.score(
        class_bits,
        energies,
        rule=work.parameters.rule,
        fraction=work.parameters.fraction,
        beta=work.parameters.beta,
    )
    labels = None if work.labels is None else arrays.decode_labels(work.labels, work.shape[0])
    return _rows(scored, labels)


def count_right(
    network: TrainedNetwork,
    work: Work,
    stored: list[tuple[int, int, bytes]],
    among: Sequence[calibrate.Choice],
) -> NDArray[np.int64]:
    """Images of a labelled batch that each of C choices predicts right, (C,) int64.

    Raises:
        Corrupt: as `score` says, or there are no labels.
    """
    if work.labels is None:
        raise Corrupt("images without labels cannot say which parameters are right")
    class_bits, energies = _reads(network, work, stored)
    labels = arrays.decode_labels(work.labels, work.shape[0])
    return calibrate.count_right(class_bits, energies, labels, among)


def sweeps(solver: Solver, parameters: Parameters) -> int:
    """Sweeps of a read, which its time goes with; 1 where a solver has none."""
    local = annealer(solver, parameters)
    return local.sweeps if isinstance(local, SimulatedAnnealer) else 1


def _reads(
    network: TrainedNetwork, work: Work, stored: list[tuple[int, int, bytes]]
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Class bits (B, R, K) uint8 and energies (B, R) float64 of the first R stored reads, R as the run says.

    Energies are computed anew from Q without noise: those that a solver returns are its own.
    """
    reads = work.parameters.reads
    model, linear = _energy(network, work)
    bits = np.concatenate([samples.decode(data).bits[:, :reads] for _, _, data in stored])
    if bits.shape[1] < reads:
        raise Corrupt(f"{bits.shape[1]} reads an image are stored where the run needs {reads}")
    return bits[:, :, model.class_units], model.energies(linear, bits)


def _energy(network: TrainedNetwork, work: Work) -> tuple[EnergyModel, NDArray[np.float64]]:
    images = arrays.decode_images(work.images, work.shape, work.images_sha256)
    model = network.model(work.parameters.visible, work.parameters.lam)
    return model, model.linear(network.features(images))


def _rows(scored: consensus.Consensus, labels: NDArray[np.int16] | None) -> list[Scored]:
    predicted = scored.predicted.tolist()
    known = [None] * len(predicted) if labels is None else labels.tolist()
    columns = zip(
        predicted,
        known,
        scored.tied.tolist(),
        arrays.encode_scores(scored.scores),
        scored.margin.tolist(),
        scored.one_hot_fraction.tolist(),
        scored.lowest_energy.tolist(),
        strict=True,
    )
    return [
        Scored(
            predicted=None if k < 0 else k,
            label=label,
            status="undecided" if k < 0 else "tied" if tied else "decided",
            scores=scores,
            margin=margin,
            one_hot_fraction=one_hot,
            lowest_energy=energy,
        )
        for k, label, tied, scores, margin, one_hot, energy in columns
    ]
