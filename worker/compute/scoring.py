"""From a batch's bytes to its raw reads, and from raw reads to scores. No database, no queue."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from schema.codecs import arrays, samples, tiling
from schema.codecs.corruption import stored_in
from schema.errors import Corrupt
from schema.parameters import Parameters, Solver, Unembedding
from worker.annealers.base import LocalAnnealer
from worker.annealers.exact import ExactAnnealer
from worker.annealers.simulated import SimulatedAnnealer
from worker.compute import candidates, consensus
from worker.compute.linear_terms import LinearTerms, LinearTermsCache
from worker.embedding.model.unembedding import unembed
from worker.network.trained import TrainedNetwork
from worker.qubo.energy_model import EnergyModel
from worker.qubo.ising import spin_form
from worker.qubo.noise import noise_for
from worker.records.batches import BatchInput, Scored, StoredReads

_AGAIN = "classify the images again"


@dataclass(frozen=True, eq=False)
class LocalReads:
    """Raw reads as bytes, how many variables they have, and the time inside the annealer."""

    data: bytes
    variables: int
    sampling_us: int


def local_annealer(solver: Solver, parameters: Parameters) -> LocalAnnealer:
    """The annealer in this process that goes by a solver's name."""
    if solver is Solver.EXACT:
        return ExactAnnealer()
    return SimulatedAnnealer() if parameters.sweeps is None else SimulatedAnnealer(sweeps=parameters.sweeps)


def linear_terms(
    network: TrainedNetwork, batch: BatchInput, cache: LinearTermsCache | None = None
) -> LinearTerms:
    """Return the linear terms of ``batch`` under the model of ``network``, from ``cache`` if they are in it.

    Raises:
        Corrupt: its images are damaged.
    """
    images = pixels(batch)
    model = network.model(batch.parameters.visible, batch.parameters.lam)
    terms = LinearTerms(network, model, images)
    return terms if cache is None else cache.setdefault((model, batch.images_sha256), terms)


def sample_local(
    network: TrainedNetwork,
    work: BatchInput,
    parts: LinearTerms,
    check_interrupt: Callable[[], None] | None = None,
) -> LocalReads:
    """Sample every image of a batch; what ``check_interrupt`` raises between images ends it.

    Raises:
        Refused: the solver cannot take this network.
    """
    parameters = work.parameters
    model, linear = parts.model, parts.take(slice(None))
    solver = local_annealer(work.solver, parameters)
    noise = noise_for(model, network.architecture.alpha, parameters.noise, parameters.seed)
    drawn = solver.sample(
        model, linear, parameters.reads, parameters.seed, work.first_image, noise, check_interrupt
    )
    data = samples.encode(samples.RawReads.of(drawn.bits, drawn.energies), isal_zlib.compress)
    return LocalReads(data, model.units, round(drawn.elapsed_s * 1e6))


def score(
    network: TrainedNetwork,
    work: BatchInput,
    stored: Sequence[StoredReads],
    latest: LinearTermsCache | None = None,
) -> tuple[list[Scored], dict[int, bytes]]:
    """Consensus class scores of a batch from its stored sample sets; one row for each image.

    Also how often each chain was broken, by problem: (images, n), as `arrays.encode_chain_breaks` packs it.
    latest: where the linear parts may be known.

    Raises:
        Corrupt: images or sample sets are damaged, or hold fewer reads than the run counts on.
    """
    parameters = work.parameters
    labels = None if work.labels is None else arrays.decode_labels(work.labels, work.shape[0])
    rows: list[Scored] = []
    chain_breaks: dict[int, bytes] = {}
    for part, reads in _reads(network, work, stored, latest):
        scored = consensus.score(
            reads.class_bits,
            reads.energies,
            rule=parameters.rule,
            fraction=parameters.fraction,
            beta=parameters.beta,
            occurrences=reads.occurrences,
        )
        rows += _rows(scored, None if labels is None else labels[_images(part)], reads.chain_breaks)
        if reads.chain_breaks is not None:
            chain_breaks[part.problem] = arrays.encode_chain_breaks(reads.chain_breaks)
    return rows, chain_breaks


def read_energies(
    network: TrainedNetwork, work: BatchInput, stored: Sequence[StoredReads], images: Collection[int]
) -> dict[int, tuple[NDArray[np.float64], NDArray[np.int64]]]:
    """Energies (R,) float64 of some images' reads, by Q, and classes (R,) int64; -1: none or several.

    images: indices within the batch; those without stored reads are left out.

    Raises:
        Corrupt: images or sample sets are damaged.
    """
    parts = linear_terms(network, work)
    found = {}
    for part in stored:
        wanted = [k for k in images if part.first_image <= k < part.first_image + part.count]
        if not wanted:
            continue
        reads = _decode(parts.model, parts.take(_images(part)), work.parameters, part)
        for image in wanted:
            k = image - part.first_image
            bits = reads.class_bits[k]
            classes = np.where(bits.sum(axis=1) == 1, bits.argmax(axis=1), -1)
            counted = np.ones(len(bits), np.int64) if reads.occurrences is None else reads.occurrences[k]
            found[image] = (np.repeat(reads.energies[k], counted), np.repeat(classes, counted))
    return found


def count_right(
    network: TrainedNetwork,
    work: BatchInput,
    stored: Sequence[StoredReads],
    among: Sequence[candidates.Choice],
) -> NDArray[np.int64]:
    """Images of a labelled batch that each of C choices predicts right, (C,) int64.

    Raises:
        Corrupt: as `score` says, or there are no labels.
    """
    if work.labels is None:
        raise Corrupt("images without labels cannot say which parameters are right")
    labels = arrays.decode_labels(work.labels, work.shape[0])
    right = np.zeros(len(among), dtype=np.int64)
    for part, reads in _reads(network, work, stored):
        right += candidates.count_right(
            reads.class_bits, reads.energies, labels[_images(part)], among, reads.kept
        )
    return right


def sweeps(solver: Solver, parameters: Parameters) -> int:
    """Sweeps of a read, which its time goes with; 1 where a solver has none."""
    local = local_annealer(solver, parameters)
    return local.sweeps if isinstance(local, SimulatedAnnealer) else 1


def pixels(work: BatchInput) -> NDArray[np.uint8]:
    """Images (N, H, W) uint8 of a batch; Corrupt, naming it, where they or their labels are damaged."""
    with stored_in(f"batch {work.batch} of run {work.run}", _AGAIN):
        return arrays.decode_images(work.images, work.shape, work.images_sha256, work.labels)


@dataclass(frozen=True, eq=False)
class _Reads:
    """The first R stored reads of B images, R as the run says.

    class_bits: (B, R, K) uint8. energies: (B, R) float, computed anew from Q without noise: those that a
    solver returns are its own. kept: (B, R) bool, reads that count, None: all. chain_breaks: (B, n) float64,
    None where there are no chains.
    """

    class_bits: NDArray[np.uint8]
    energies: NDArray[np.floating]
    kept: NDArray[np.bool_] | None = None
    occurrences: NDArray[np.int32] | None = None
    chain_breaks: NDArray[np.float64] | None = None


def _reads(
    network: TrainedNetwork,
    work: BatchInput,
    stored: Sequence[StoredReads],
    latest: LinearTermsCache | None = None,
) -> Iterator[tuple[StoredReads, _Reads]]:
    """The reads of each sample set, one after another: a batch's may be too many to hold at once."""
    parts = linear_terms(network, work, latest)
    expected = 0
    for part in stored:
        if part.first_image != expected:
            raise Corrupt(f"image {expected} of batch {work.batch} has no stored reads")
        expected += part.count
        yield part, _decode(parts.model, parts.take(_images(part)), work.parameters, part)
    if expected != len(parts):
        raise Corrupt(f"image {expected} of batch {work.batch} has no stored reads")


def _decode(
    model: EnergyModel, linear: NDArray[np.float64], parameters: Parameters, part: StoredReads
) -> _Reads:
    with stored_in(f"sample set of problem {part.problem}", _AGAIN):
        held = samples.decode(part.data)
        if (reads := held.packed.shape[1]) < parameters.reads:
            raise Corrupt(f"{reads} reads an image are stored where the run needs {parameters.reads}")
    if part.tiling is None:
        bits = held.bits[:, : parameters.reads]
        return _Reads(bits[:, :, model.class_units], model.energies(linear, bits))
    with stored_in(f"tiling that problem {part.problem} was sent with", _AGAIN):
        placed = _tiles(part.tiling, part.count)
        if held.variables != len(placed.qubits):
            raise Corrupt(f"it has {len(placed.qubits)} qubits, the reads {held.variables}")
    spin = None
    if parameters.unembedding is Unembedding.MINIMIZE_ENERGY:
        form = spin_form(linear, model.edges, model.couplings)
        spin = (form.h, (model.quadratic + model.quadratic.T) / 4.0)
    physical = held.packed[0, : parameters.reads]
    out = unembed(physical, placed, parameters.unembedding, seed=parameters.seed, spin=spin)
    # Single precision: they rank the reads, and what is told of them is good to a millionth.
    energies = model.energies(linear, out.bits, np.float32)
    class_bits = out.bits[:, :, model.class_units]
    if out.counted.all():
        return _Reads(class_bits, energies, chain_breaks=out.chain_breaks)
    counted, occurrences = consensus.discard_reads(class_bits, out.counted)
    return _Reads(counted, energies, out.counted, occurrences, out.chain_breaks)


@lru_cache(maxsize=8)
def _tiles(data: bytes, count: int) -> tiling.Tiling:
    """The first tiles of a stored tiling: most problems of a run have the same ones."""
    return tiling.decode(data).take(slice(count))


def _images(part: StoredReads) -> slice:
    return slice(part.first_image, part.first_image + part.count)


def _rows(
    scored: consensus.Consensus,
    labels: NDArray[np.int16] | None,
    chain_breaks: NDArray[np.float64] | None,
) -> list[Scored]:
    predicted = scored.predicted.tolist()
    known = [None] * len(predicted) if labels is None else labels.tolist()
    broken = [None] * len(predicted) if chain_breaks is None else chain_breaks.mean(axis=1).tolist()
    columns = zip(
        predicted,
        known,
        scored.tied.tolist(),
        arrays.encode_scores(scored.scores),
        scored.margin.tolist(),
        scored.one_hot_fraction.tolist(),
        scored.lowest_energy.tolist(),
        broken,
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
            chain_break_fraction=share,
        )
        for k, label, tied, scores, margin, one_hot, energy, share in columns
    ]
