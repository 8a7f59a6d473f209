"""Computes class scores of a batch from the raw reads of any solver."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schema.codecs import arrays, samples, tiling
from schema.codecs.corruption import stored_in
from schema.errors import Corrupt
from schema.parameters import Parameters, Unembedding
from schema.shapes import ImageArray, InputArray
from worker.compute import candidates, consensus
from worker.compute.certainty.gaps import class_energies, lowest_reads
from worker.compute.certainty.rating import Rater
from worker.compute.linear_terms import LinearTerms, LinearTermsCache
from worker.embedding.model.unembedding import Unembedded, unembed
from worker.network.trained import TrainedNetwork
from worker.qubo.class_states import class_minima
from worker.qubo.energy_model import EnergyModel
from worker.qubo.exact_sums import summable
from worker.qubo.ising import spin_form
from worker.records.batches import BatchInput, Scored, StoredReads

_BINS = 30  # of a histogram
_AGAIN = "classify the images again"


def linear_terms(
    network: TrainedNetwork, batch_input: BatchInput, cache: LinearTermsCache | None = None
) -> LinearTerms:
    """Return the linear terms of ``batch_input`` under the model of ``network``, from ``cache`` if they are
    in it.

    Raises:
        Corrupt: its images are damaged.
    """
    images = inputs(batch_input)
    model = network.model(batch_input.parameters.visible, batch_input.parameters.lam)
    terms = LinearTerms(network, model, images)
    return terms if cache is None else cache.setdefault((model, batch_input.images_sha256), terms)


def score(
    network: TrainedNetwork,
    batch_input: BatchInput,
    stored: Sequence[StoredReads],
    cache: LinearTermsCache | None = None,
    *,
    gaps: bool = False,
) -> tuple[list[Scored], dict[int, bytes]]:
    """Compute consensus class scores of ``batch_input`` from its ``stored`` sample sets.

    With ``gaps``, some images may have no sample set; they get no row.

    Returns:
        A row for each image, and how often each chain was broken, by problem: (images, n), packed by
        `arrays.encode_chain_breaks`.

    Raises:
        Corrupt: images or sample sets are damaged, or have fewer reads than the run needs.
    """
    return score_terms(network, batch_input, linear_terms(network, batch_input, cache), stored, gaps=gaps)


def score_terms(
    network: TrainedNetwork,
    batch_input: BatchInput,
    terms: LinearTerms,
    stored: Sequence[StoredReads],
    *,
    gaps: bool = False,
) -> tuple[list[Scored], dict[int, bytes]]:
    """Compute the same as `score` by the linear ``terms`` of the batch; its images are not used."""
    labels, rater = labels_of(batch_input), Rater.of(network, batch_input)
    numbers = np.asarray(batch_input.image_numbers)
    rows: list[Scored] = []
    chain_breaks: dict[int, bytes] = {}
    for part, reads in _reads(terms, batch_input, stored, gaps=gaps):
        images = _images(part)
        rows += classify(rater, batch_input.parameters, terms, images, reads, numbers[images], labels)
        if reads.chain_breaks is not None:
            chain_breaks[part.problem] = arrays.encode_chain_breaks(reads.chain_breaks)
    return rows, chain_breaks


def classify(
    rater: Rater,
    parameters: Parameters,
    terms: LinearTerms,
    images: slice,
    reads: Reads,
    numbers: NDArray[np.integer],
    labels: NDArray[np.int16] | None,
) -> list[Scored]:
    """Return a row for each of ``images``, by the ``reads`` of these images.

    Args:
        rater: of the run.
        parameters: how the class is chosen.
        images: among those of ``terms`` and ``labels``.
        numbers: their indices within the run.
    """
    scored = find_consensus(parameters, reads)
    energies = _class_energies(terms, images, reads)
    rated = rater.rate(terms.features(images), energies, scored.predicted, numbers)
    return _rows(scored, rated, None if labels is None else labels[images], reads.chain_breaks)


def find_consensus(parameters: Parameters, reads: Reads) -> consensus.Consensus:
    """Return the consensus of ``reads`` by the rule in ``parameters``."""
    return consensus.score(
        reads.class_bits,
        reads.energies,
        rule=parameters.rule,
        fraction=parameters.fraction,
        beta=parameters.beta,
        occurrences=reads.occurrences,
    )


def labels_of(batch_input: BatchInput) -> NDArray[np.int16] | None:
    """Return the labels (N,) of the images of ``batch_input``, if they have any; raise Corrupt if damaged."""
    data = batch_input.labels
    return None if data is None else arrays.decode_labels(data, batch_input.count)


def read_energies(
    terms: LinearTerms, batch_input: BatchInput, stored: Sequence[StoredReads], images: Collection[int]
) -> dict[int, tuple[NDArray[np.float64], NDArray[np.int64]]]:
    """Return energies (R,) float64 by Q and classes (R,) int64, -1: none or several, of each image's reads.

    ``terms`` are those of ``batch_input``, and ``images`` indices within it; those without reads in
    ``stored`` are left out.

    Raises:
        Corrupt: images or sample sets are damaged.
    """
    energies = {}
    for part in stored:
        wanted = [k for k in images if part.first_image <= k < part.first_image + part.count]
        if not wanted:
            continue
        reads = _decode(terms.model, terms.take(_images(part)), batch_input.parameters, part)
        for image in wanted:
            k = image - part.first_image
            bits = reads.class_bits[k]
            classes = np.where(bits.sum(axis=1) == 1, bits.argmax(axis=1), -1)
            counts = np.ones(len(bits), np.int64) if reads.occurrences is None else reads.occurrences[k]
            energies[image] = (np.repeat(reads.energies[k], counts), np.repeat(classes, counts))
    return energies


def energy_histogram(energies: NDArray[np.float64], classes: NDArray[np.int64]) -> dict[str, Any]:
    """Return the histogram of ``energies`` (R,) by ``classes`` (R,), -1: none or several.

    Returns:
        ``edges``: (31,) bounds of the bins. ``classes``: the counts (30,) by class, without classes that no
        read has.
    """
    low, high = float(energies.min()), float(energies.max())
    edges = np.linspace(low, high if high > low else low + 1e-6, _BINS + 1)
    counts = {int(k): np.histogram(energies[classes == k], edges)[0].tolist() for k in np.unique(classes)}
    return {"edges": edges.tolist(), "classes": counts}


def find_right(
    network: TrainedNetwork,
    batch_input: BatchInput,
    stored: Sequence[StoredReads],
    among: Sequence[candidates.Choice],
) -> NDArray[np.bool_]:
    """Return which of the N images of ``batch_input`` each of the C choices ``among`` predicts right by its
    ``stored`` reads, (C, N) bool.

    Raises:
        Corrupt: as `score` says, or there are no labels.
    """
    if batch_input.labels is None:
        raise Corrupt(f"batch {batch_input.batch} has no labels: the parameters cannot be compared")
    labels = arrays.decode_labels(batch_input.labels, batch_input.count)
    right, terms = np.zeros((len(among), len(labels)), dtype=np.bool_), linear_terms(network, batch_input)
    for unembedding in dict.fromkeys(choice.unembedding for choice in among):
        rows = [k for k, choice in enumerate(among) if choice.unembedding is unembedding]
        chosen = [among[k] for k in rows]
        parameters = replace(batch_input.parameters, unembedding=unembedding)
        for part, reads in _reads(terms, replace(batch_input, parameters=parameters), stored):
            right[rows, _images(part)] = candidates.find_right(
                reads.class_bits, reads.energies, labels[_images(part)], chosen, reads.counted
            )
    return right


def reads_of_images(
    terms: LinearTerms, batch_input: BatchInput, stored: Sequence[StoredReads]
) -> Iterator[tuple[slice, Reads]]:
    """Yield the images of each of the ``stored`` sample sets of ``batch_input``, with their reads.

    ``terms`` are those of the batch. Raise Corrupt as `score` does.
    """
    for part, reads in _reads(terms, batch_input, stored):
        yield _images(part), reads


def first_reads(reads: Reads, number: int) -> Reads:
    """Return the first ``number`` of ``reads`` of each image."""
    first = slice(number)
    bits, energies = reads.class_bits[:, first], reads.energies[:, first]
    if reads.counted is None:
        return Reads(bits, energies)
    counted = reads.counted[:, first]
    bits, occurrences = consensus.discard_reads(bits, counted)
    return Reads(bits, energies, counted, occurrences)


def inputs(batch_input: BatchInput) -> InputArray:
    """Return what the trained layers take of the images of ``batch_input``.

    Raises:
        Corrupt: images or labels are damaged.
    """
    images = pixels(batch_input)
    return images if batch_input.joined is None else batch_input.joined


def pixels(batch_input: BatchInput) -> ImageArray:
    """Return the images of ``batch_input``; raise Corrupt if damaged, also for labels."""
    with stored_in(f"batch {batch_input.batch} of run {batch_input.run}", _AGAIN):
        return arrays.decode_images(
            batch_input.images,
            batch_input.count,
            batch_input.shape,
            batch_input.images_sha256,
            batch_input.labels,
        )


@dataclass(frozen=True, eq=False)
class Reads:
    """R reads of B images as values of units, R as the run says."""

    class_bits: NDArray[np.uint8]  # (B, R, K) uint8
    # (B, R) float, computed from Q without noise; a solver's own are of its noisy, scaled model
    energies: NDArray[np.floating]
    counted: NDArray[np.bool_] | None = None  # (B, R) bool, reads that count; None: all
    occurrences: NDArray[np.int32] | None = None  # (B, R) int32; None: 1
    chain_breaks: NDArray[np.float64] | None = None  # (B, n) float64; None if there are no chains


def _reads(
    terms: LinearTerms, batch_input: BatchInput, stored: Sequence[StoredReads], *, gaps: bool = False
) -> Iterator[tuple[StoredReads, Reads]]:
    """Yield the reads of each sample set: those of a whole batch may be too many for memory."""
    expected = 0
    for part in stored:
        if part.first_image != expected and not gaps:
            raise Corrupt(f"image {expected} of batch {batch_input.batch} has no stored reads")
        expected += part.count
        yield part, _decode(terms.model, terms.take(_images(part)), batch_input.parameters, part)
    if expected != len(terms) and not gaps:
        raise Corrupt(f"image {expected} of batch {batch_input.batch} has no stored reads")


def _decode(
    model: EnergyModel, linear: NDArray[np.float64], parameters: Parameters, part: StoredReads
) -> Reads:
    stored, tiles = open_reads(part, parameters.reads)
    if tiles is None:
        bits = stored.bits[:, : parameters.reads]
        return Reads(bits[:, :, model.class_units], model.energies(linear, bits))
    return unembed_reads(model, linear, parameters, stored.packed[0, : parameters.reads], tiles)


def open_reads(part: StoredReads, reads: int) -> tuple[samples.RawReads, tiling.Tiling | None]:
    """Return the raw reads of ``part``, ``reads`` of each image or more, and the tiles of its images.

    Raises:
        Corrupt: they are damaged, or fewer.
    """
    with stored_in(f"sample set of problem {part.problem}", _AGAIN):
        stored = samples.decode(part.data)
        if (number := stored.packed.shape[1]) < reads:
            raise Corrupt(f"{number} reads an image are stored, the run needs {reads}")
    if part.tiling is None:
        return stored, None
    with stored_in(f"tiling that problem {part.problem} was sent with", _AGAIN):
        tiles = _tiles(part.tiling, part.first_tile, part.count)
        if stored.variables != len(tiles.qubits):
            raise Corrupt(f"it has {len(tiles.qubits)} qubits, the reads {stored.variables}")
    return stored, tiles


def unembed_reads(
    model: EnergyModel,
    linear: NDArray[np.float64],
    parameters: Parameters,
    physical: NDArray[np.uint8],
    tiles: tiling.Tiling,
) -> Reads:
    """Return the reads of B images from those of the qubits of their tiles.

    Args:
        model, linear: the model of the network, and its linear terms (B, n) float64 of the images.
        parameters: those of the run: unembedding and seed.
        physical: (R, bytes) uint8, as `unembed` takes them.
        tiles: B tiles.
    """
    logical = unembed_units(model, linear, parameters, physical, tiles)
    energies = model.energies(linear, logical.bits)
    class_bits = logical.bits[:, :, model.class_units]
    if logical.counted.all():
        return Reads(class_bits, energies, chain_breaks=logical.chain_breaks)
    class_bits, occurrences = consensus.discard_reads(class_bits, logical.counted)
    return Reads(class_bits, energies, logical.counted, occurrences, logical.chain_breaks)


def unembed_units(
    model: EnergyModel,
    linear: NDArray[np.float64],
    parameters: Parameters,
    physical: NDArray[np.uint8],
    tiles: tiling.Tiling,
) -> Unembedded:
    """Return the values of all units in the reads of B images; the arguments are those of `unembed_reads`."""
    spin = None
    if parameters.unembedding is Unembedding.MINIMIZE_ENERGY:
        form = spin_form(linear, model.edges, model.couplings)
        spin = (form.h, (model.quadratic + model.quadratic.T) / 4.0)
    return unembed(physical, tiles, parameters.unembedding, seed=parameters.seed, spin=spin)


@lru_cache(maxsize=8)
def _tiles(data: bytes, first: int, count: int) -> tiling.Tiling:
    """Return ``count`` tiles of a stored tiling from ``first`` on; most problems of a run have the same."""
    try:
        return tiling.decode(data).span(first, count)
    except ValueError as error:
        raise Corrupt(str(error)) from None


def _images(part: StoredReads) -> slice:
    return slice(part.first_image, part.first_image + part.count)


def _means(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean (B,) of ``shares`` (B, n) in [0, 1], with the same bits on all machines."""
    return np.asarray(summable(shares, shares.shape[1]).mean(axis=1))


def _class_energies(terms: LinearTerms, images: slice, reads: Reads) -> NDArray[np.float64]:
    """Return the energy (B, K) of each class of each of ``images`` by their ``reads``."""
    lowest = lowest_reads(reads.class_bits, reads.energies, reads.occurrences)
    return class_energies(lowest, class_minima(terms.model, terms.take(images)))


def _rows(
    scored: consensus.Consensus,
    rated: list[dict[str, Any]],
    labels: NDArray[np.int16] | None,
    chain_breaks: NDArray[np.float64] | None,
) -> list[Scored]:
    predicted = scored.predicted.tolist()
    true = [None] * len(predicted) if labels is None else labels.tolist()
    broken = [None] * len(predicted) if chain_breaks is None else _means(chain_breaks).tolist()
    columns = zip(
        predicted,
        true,
        scored.tied.tolist(),
        arrays.encode_scores(scored.scores),
        scored.margin.tolist(),
        scored.one_hot_fraction.tolist(),
        scored.lowest_energy.tolist(),
        broken,
        rated,
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
            **certain,
        )
        for k, label, tied, scores, margin, one_hot, energy, share, certain in columns
    ]
