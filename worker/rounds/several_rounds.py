"""Classifies images that were read in several rounds: all reads of an image count.

Each image is computed alone, from its pixels on. So its row has the same bits whichever of its batches is
scored, and whatever other images are in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from schema.codecs.tiling import Tiling
from schema.errors import Corrupt
from schema.parameters import Parameters, Unembedding
from worker.compute import consensus, scoring
from worker.compute.certainty.rating import Rater
from worker.compute.linear_terms import LinearTerms
from worker.compute.scoring import Reads
from worker.network.trained import TrainedNetwork
from worker.qubo.energy_model import EnergyModel
from worker.records.batches import BatchInput, Scored, StoredReads
from worker.rounds.located_reads import Load, LocatedReads

_BLOCK_READS = 8_000_000  # of images at a time: about 200 MB
_ONE = slice(0, 1)

Energies = tuple[NDArray[np.float64], NDArray[np.int64]]  # (R,) of an image's reads, and their classes (R,)


def score(
    network: TrainedNetwork, batch_input: BatchInput, located: Sequence[LocatedReads], load: Load
) -> dict[int, Scored]:
    """Return a row for each image of ``batch_input`` that is in ``located``, by its index within the batch.

    Args:
        load: reads a sample set; each is read once, or a few times if there are many reads.

    Raises:
        Corrupt: images or sample sets are damaged, or have fewer reads than they should.
    """
    pixels = scoring.inputs(batch_input)
    model = network.model(batch_input.parameters.visible, batch_input.parameters.lam)

    def terms_of(image: int) -> LinearTerms:
        return LinearTerms(network, model, pixels[image : image + 1])

    return score_terms(network, batch_input, terms_of, located, load)


def score_terms(
    network: TrainedNetwork,
    batch_input: BatchInput,
    terms_of: Callable[[int], LinearTerms],
    located: Sequence[LocatedReads],
    load: Load,
) -> dict[int, Scored]:
    """Return the same as `score` by the linear terms of each image alone, which ``terms_of`` returns.

    The images of the batch are not used.
    """
    labels = scoring.labels_of(batch_input)
    model = network.model(batch_input.parameters.visible, batch_input.parameters.lam)
    rater, numbers = Rater.of(network, batch_input), np.asarray(batch_input.image_numbers)
    rows: dict[int, Scored] = {}
    for block in _blocks(located):
        terms = {k: terms_of(k) for k in block}
        reads = _gather(model, batch_input.parameters, located, terms, load)
        for k, parts in reads.items():
            label = None if labels is None else labels[k : k + 1]
            number = numbers[k : k + 1]
            rows[k] = _classify(rater, batch_input.parameters, terms[k], parts, number, label)
    return rows


def join(parts: Sequence[Energies]) -> Energies:
    """Return the energies and classes of an image's reads in all rounds, ``parts``."""
    energies, classes = zip(*parts, strict=True)
    return np.concatenate(energies), np.concatenate(classes)


def _blocks(located: Sequence[LocatedReads]) -> Iterator[list[int]]:
    """Yield images of a batch, as many at a time as have reads for the memory."""
    totals: dict[int, int] = {}
    for each in located:
        for image in each.images.tolist():
            totals[image] = totals.get(image, 0) + each.reads
    block: list[int] = []
    size = 0
    for image, reads in sorted(totals.items()):
        if block and size + reads > _BLOCK_READS:
            yield block
            block, size = [], 0
        block.append(image)
        size += reads
    if block:
        yield block


@dataclass(frozen=True, eq=False)
class _RoundReads:
    """The reads of one image in one round: class bits (R, K), energies (R,), (R,) that count, (n,) breaks."""

    round: int
    class_bits: NDArray[np.uint8]
    energies: NDArray[np.floating]
    counted: NDArray[np.bool_]
    chain_breaks: NDArray[np.float64] | None


def _gather(
    model: EnergyModel,
    parameters: Parameters,
    located: Sequence[LocatedReads],
    terms: Mapping[int, LinearTerms],
    load: Load,
) -> dict[int, list[_RoundReads]]:
    """Return the reads of the images of ``terms`` by image, each in the order of the rounds."""
    gathered: dict[int, list[_RoundReads]] = {}
    for each in located:
        wanted = [k for k, image in enumerate(each.images.tolist()) if image in terms]
        if not wanted:
            continue
        images = each.images[wanted].tolist()
        linear = np.concatenate([terms[image].take(_ONE) for image in images])
        chosen = replace(parameters, reads=each.reads)
        for image, reads in zip(
            images, _decode(model, linear, chosen, load(each.problem), each, wanted), strict=True
        ):
            gathered.setdefault(image, []).append(reads)
    return gathered


def _decode(
    model: EnergyModel,
    linear: NDArray[np.float64],
    parameters: Parameters,
    part: StoredReads,
    located: LocatedReads,
    wanted: Sequence[int],
) -> Iterator[_RoundReads]:
    """Yield the reads of the ``wanted`` images of ``located``, whose linear terms are ``linear``."""
    units = read_units(model, linear, parameters, part, located, wanted)
    bits, counted, breaks = units.bits, units.counted, units.chain_breaks
    for k in range(len(bits)):
        one = slice(k, k + 1)
        yield _RoundReads(
            located.round,
            np.ascontiguousarray(bits[k][:, model.class_units]),
            model.energies(linear[one], bits[one])[0],
            counted[k],
            None if breaks is None else breaks[k],
        )


@dataclass(frozen=True, eq=False)
class UnitReads:
    """R reads of m images as values of their n units.

    Attributes:
        bits: (m, R, n) uint8.
        counted: (m, R) bool, reads that count for the image.
        physical: (R, bytes) uint8, the reads of the qubits of these images' tiles alone; None without qubits.
        tiles: m tiles, which ``physical`` is of.
        chain_breaks: (m, n) float64, share of reads in which each chain is broken.
    """

    bits: NDArray[np.uint8]
    counted: NDArray[np.bool_]
    physical: NDArray[np.uint8] | None = None
    tiles: Tiling | None = None
    chain_breaks: NDArray[np.float64] | None = None


def read_units(
    model: EnergyModel,
    linear: NDArray[np.float64],
    parameters: Parameters,
    part: StoredReads,
    located: LocatedReads,
    wanted: Sequence[int],
) -> UnitReads:
    """Return the reads in ``part`` of the ``wanted`` images of ``located``, as the run unembeds them.

    Args:
        linear: (m, n) float64, linear terms of these images.
        parameters: of the run, with the number of reads that count.

    Raises:
        Corrupt: the reads are damaged, or fewer.
    """
    stored, tiles = scoring.open_reads(part, parameters.reads)
    places = located.places[wanted]
    if places.max() >= part.count:
        raise Corrupt(f"problem {part.problem} has {part.count} images, and none at {places.max()}")
    if tiles is None:
        bits = stored.bits[places, : parameters.reads]
        return UnitReads(bits, np.ones(bits.shape[:2], np.bool_))
    physical = stored.packed[0, : parameters.reads]
    own, own_tiles = _only(physical, tiles, places)
    if parameters.unembedding is Unembedding.WEIGHTED_RANDOM:  # what a tile draws depends on the others
        whole = np.zeros((part.count, linear.shape[1]))
        units = scoring.unembed_units(model, whole, parameters, physical, tiles)
    else:
        units, places = (
            scoring.unembed_units(model, linear, parameters, own, own_tiles),
            np.arange(len(places)),
        )
    chosen = units.bits[places], units.counted[places]
    return UnitReads(*chosen, own, own_tiles, units.chain_breaks[places])


def _only(
    physical: NDArray[np.uint8], tiles: Tiling, places: NDArray[np.intp]
) -> tuple[NDArray[np.uint8], Tiling]:
    """Return the reads of the qubits of some of ``tiles`` only, and these tiles."""
    chosen = tiles.take(places)
    columns = np.searchsorted(np.sort(tiles.qubits), np.sort(chosen.qubits))
    bits = np.unpackbits(physical, axis=1, count=len(tiles.qubits))
    return np.packbits(bits[:, columns], axis=1), chosen


def _classify(
    rater: Rater,
    parameters: Parameters,
    terms: LinearTerms,
    parts: Sequence[_RoundReads],
    number: NDArray[np.integer],
    label: NDArray[np.int16] | None,
) -> Scored:
    """Return the row of one image by all of its reads, and its class without those of the latest round."""
    (row,) = scoring.classify(rater, parameters, terms, _ONE, _join(parts), number, label)
    earlier = [part for part in parts if part.round < parts[-1].round]
    before = None
    if earlier:
        before = int(scoring.find_consensus(parameters, _join(earlier)).predicted[0])
    return replace(row, reads=sum(len(part.energies) for part in parts), earlier_predicted=before)


def _join(parts: Sequence[_RoundReads]) -> Reads:
    """Return all reads of one image; of its chains, the share of them in which each is broken."""
    bits = np.concatenate([part.class_bits for part in parts])[np.newaxis]
    energies = np.concatenate([part.energies for part in parts])[np.newaxis]
    counted = np.concatenate([part.counted for part in parts])[np.newaxis]
    shares = [part.chain_breaks for part in parts if part.chain_breaks is not None]
    breaks = None
    if len(shares) == len(parts):
        weights = [len(part.energies) for part in parts]
        breaks = np.average(np.stack(shares), axis=0, weights=weights)[np.newaxis]
    if counted.all():
        return Reads(bits, energies, chain_breaks=breaks)
    bits, occurrences = consensus.discard_reads(bits, counted)
    return Reads(bits, energies, counted, occurrences, breaks)
