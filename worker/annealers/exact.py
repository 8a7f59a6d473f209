"""Draws from the Boltzmann distribution itself, and the exact minimum, by enumerating the class units.

With the class units known, the other units of a small network fall apart into trees: single visible units
for a head, stars of visible units around each pooling unit. Summing a tree from its leaves to its root is
exact, so the 2^K class states get exact weights; then classes, roots and leaves are drawn in that order.
Uniform numbers have 40 bits for the class state and 32 bits for every other unit.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from schema.errors import ParameterError
from worker.annealers.base import LogicalSamples, check_request, coupling_scales, image_words, no_interrupt
from worker.annealers.forest import build_forest, cached_forest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from worker.annealers.forest import Forest, IndexList
    from worker.qubo.energy_model import BitArray, EnergyModel, FloatArray
    from worker.qubo.noise import Noise

Statistic = Literal["sum", "maximum"]

# Images are taken a few at a time, so that images x class states x units stay in the cache.
_BLOCK_BYTES = 3 << 18
_BLOCK_IMAGES = 256
# exp(709) is the largest a float64 holds; a product of terms 1 + exp(x) must stay below.
_LARGEST_EXPONENT = 690.0
# Terms multiplied out in one table of 2^3 rows: with 2 or 4 the sum over a head takes longer.
_TOGETHER = 3
# sigmoid(40) differs from 1 by less than the 32 bits of a uniform number can show.
_SURE = 40.0


@dataclass(frozen=True, eq=False)
class _Tempered:
    """A forest at one temperature, with what all images share.

    statistic: whether units are summed out or set to their best. fields: (n_rest, C), -beta times those of
    the forest. products: see :func:`_products`; None for the maximum.
    """

    forest: Forest
    beta: float
    statistic: Statistic
    fields: FloatArray
    products: FloatArray | None


@dataclass(frozen=True)
class ExactAnnealer:
    """Independent draws from exp(-beta E) / Z, for models whose units form trees once the classes are known.

    beta: inverse temperature in the model's own units, > 0; None: as :func:`default_beta` says.

    Raises ParameterError when beta is not positive and finite.
    """

    beta: float | None = None

    def __post_init__(self) -> None:
        if self.beta is not None and not (np.isfinite(self.beta) and self.beta > 0.0):
            raise ParameterError(f"beta must be a finite number above 0, not {self.beta}")

    @property
    def name(self) -> str:
        """``exact``: the yardstick for every other sampler."""
        return "exact"

    def check(self, model: EnergyModel) -> None:
        """Raises Refused when there are over 16 class units, or cycles among the units that are none."""
        cached_forest(model)

    def sample(
        self,
        model: EnergyModel,
        linear: FloatArray,
        reads: int,
        seed: int,
        first_image: int = 0,
        noise: Noise | None = None,
        check_interrupt: Callable[[], None] | None = None,
    ) -> LogicalSamples:
        """Reads of a batch, as :meth:`worker.annealers.base.LocalAnnealer.sample` says.

        Noise changes the couplings, so that each image has a distribution of its own to enumerate: several
        times slower. The temperature stays that of the model without noise.

        Weights are float64: a batch cut in another way may round them otherwise, and a uniform number that
        falls just there then gives another read.
        """
        check_request(model, linear, reads, seed, first_image)
        started, check_interrupt = perf_counter(), check_interrupt or no_interrupt
        beta, forest = self.beta or default_beta(model), cached_forest(model)
        bits = np.empty((len(linear), reads, model.units), dtype=np.uint8)
        if noise is None:
            tempered = _temper(forest, beta, "sum")
            for block in _image_blocks(forest, len(linear)):
                check_interrupt()
                _draw_block(tempered, linear[block], seed, first_image + block.start, bits[block])
        else:
            for image, row in enumerate(linear):
                check_interrupt()
                noisy, noisy_row = noise.apply(model, row, first_image + image)
                tempered = _temper(build_forest(noisy), beta, "sum")
                _draw_block(
                    tempered, noisy_row[np.newaxis], seed, first_image + image, bits[image : image + 1]
                )
        return LogicalSamples(bits, model.energies(linear, bits), perf_counter() - started)


def default_beta(model: EnergyModel) -> float:
    """The inverse temperature used when none is given: 1 / the smallest scale of the model's couplings.

    Warm enough for the network's own uncertainty to show in the reads, cold enough for the lowest tenth of
    them to agree: tests/benchmarks/test_annealers.py prints the accuracy for this and other temperatures.
    """
    return 1.0 / coupling_scales(model)[0]


def ground_state(model: EnergyModel, linear: FloatArray) -> tuple[BitArray, FloatArray]:
    """The exact minimum of each image: bits (B, n) uint8 and energies (B,) float64.

    Among equal minima: the first class state in binary order, and every unit off that may be.

    Raises Refused as :meth:`ExactAnnealer.check` does, ParameterError when ``linear`` does not fit.
    """
    check_request(model, linear, reads=1, seed=0, first_image=0)
    tempered = _temper(cached_forest(model), 1.0, "maximum")
    bits = np.empty((len(linear), 1, model.units), dtype=np.uint8)
    for block in _image_blocks(tempered.forest, len(linear)):
        best = _class_weights(tempered, linear[block]).argmax(axis=1)
        _settle(tempered, linear[block], best, bits[block, 0])
    return bits[:, 0], model.energies(linear, bits)[:, 0]


def _draw_block(tempered: _Tempered, linear: FloatArray, seed: int, first_image: int, bits: BitArray) -> None:
    """Fill ``bits`` (b, R, n) with the reads of images that follow each other in the run."""
    images, reads, units = bits.shape
    rest = units - tempered.forest.codes.shape[1]
    _draw(tempered, linear, image_words(seed, first_image, images, reads + -(-reads * rest // 2)), bits)


def _draw(tempered: _Tempered, linear: FloatArray, words: NDArray[np.uint64], bits: BitArray) -> None:
    """Fill ``bits`` (b, R, n) with reads, from random ``words`` (b, R + ceil(R n_rest / 2))."""
    forest, beta = tempered.forest, tempered.beta
    images, reads, units = bits.shape
    rest = units - forest.codes.shape[1]
    codes = _draw_codes(_class_weights(tempered, linear), words[:, :reads])
    bits[..., rest:] = forest.codes.take(codes, axis=0)
    if not rest:
        return
    uniform = words[:, reads:].view(np.uint32)[:, : reads * rest].reshape(images, reads, rest)
    image, code, where = _distinct(codes, len(forest.codes))
    logits = tempered.fields.T[code] - beta * linear[image, :rest]
    _climb(tempered, logits, None)
    threshold = _thresholds(logits[:, forest.roots]).take(where, axis=0)
    bits[..., forest.roots] = uniform[..., forest.roots] < threshold
    for level in reversed(forest.levels):
        off = logits[:, level.units]
        on = off - beta * level.couplings
        threshold = np.where(
            bits[..., level.parents],
            _thresholds(on).take(where, axis=0),
            _thresholds(off).take(where, axis=0),
        )
        bits[..., level.units] = uniform[..., level.units] < threshold


def _settle(tempered: _Tempered, linear: FloatArray, codes: IndexList, bits: BitArray) -> None:
    """Fill ``bits`` (b, n) with the minimum, given the class state ``codes`` (b,) of each image."""
    forest = tempered.forest
    rest = bits.shape[1] - forest.codes.shape[1]
    bits[:, rest:] = forest.codes[codes]
    gains = tempered.fields.T[codes] - linear[:, :rest]
    _climb(tempered, gains, None)
    bits[:, forest.roots] = gains[:, forest.roots] > 0.0
    for level in reversed(forest.levels):
        bits[:, level.units] = gains[:, level.units] - level.couplings * bits[:, level.parents] > 0.0


def _class_weights(tempered: _Tempered, linear: FloatArray) -> FloatArray:
    """Log weight (b, C) of every class state: all other units summed out, or at their best.

    With one-hot class states and single units this is minus the free energy of a discriminative restricted
    Boltzmann machine (Larochelle and Bengio 2008): beta lam + sum_i softplus(beta (f_i + W[i, k])).
    """
    forest, beta = tempered.forest, tempered.beta
    rest = len(forest.fields)
    weights: FloatArray = -beta * (linear[:, rest:] @ forest.codes.T + forest.pairs)
    if not rest:
        return weights
    logits = -beta * linear[:, :rest]
    constant, extra = _climb(tempered, logits, tempered.fields)
    weights += constant
    base, fields = logits[:, forest.roots], tempered.fields[forest.roots]
    summed = _sum_products(base, fields, tempered.products) if extra is None else None
    if summed is None:
        roots = base[..., np.newaxis] + (fields if extra is None else fields + extra[:, forest.roots])
        summed = _soften(roots, tempered.statistic).sum(axis=1)
    weights += summed
    return weights


def _climb(
    tempered: _Tempered, logits: FloatArray, fields: FloatArray | None
) -> tuple[FloatArray, FloatArray | None]:
    """Send messages from the leaves to the roots; ``logits`` (b, n_rest) receive those free of the classes.

    fields: (n_rest, C) logits from each class state; None when ``logits`` hold one class state a row.
    Returns the log weight of the levels below the roots, (b, C) or (b, 1), and the messages that depend on
    the class state, (b, n_rest, C) or None.
    """
    constant, extra = np.zeros((len(logits), 1)), None
    for level in tempered.forest.levels:
        here = logits[:, level.units, np.newaxis]
        if fields is not None and level.depends:
            extra = np.zeros((len(logits), *fields.shape)) if extra is None else extra
            here = here + fields[level.units] + extra[:, level.units]
        off = _soften(here, tempered.statistic)
        message = _soften(here - tempered.beta * level.couplings[:, np.newaxis], tempered.statistic) - off
        constant = constant + off.sum(axis=1)
        if here.shape[2] == 1:
            logits += message[..., 0] @ level.to_parents
        elif extra is not None:
            extra += level.to_parents.T @ message
    return constant, extra


def _soften(logits: FloatArray, statistic: Statistic) -> FloatArray:
    """log(1 + exp(x)), or its limit max(0, x) when only the best state counts."""
    best: FloatArray = np.maximum(logits, 0.0)
    if statistic == "sum":
        best += np.log1p(np.exp(-np.abs(logits)))
    return best


def _products(fields: FloatArray) -> FloatArray | None:
    """Tables (g, 8, C) that multiply out three terms 1 + exp(base_i + field_i) each; ``fields`` (r, C).

    Row s of group t holds prod exp(field_i) over the units i of subset s, so that a matrix product with the
    same subsets of exp(base) gives the three terms' product for every image and class state. None where the
    tables would overflow.
    """
    if _fitting_groups(np.abs(fields).max(initial=0.0)) < 1:
        return None
    groups = -(-len(fields) // _TOGETHER)
    factors = np.zeros((groups * _TOGETHER, fields.shape[1]))
    np.exp(fields, out=factors[: len(fields)])
    return _subset_products(factors.reshape(groups, _TOGETHER, -1))


def _sum_products(base: FloatArray, fields: FloatArray, products: FloatArray | None) -> FloatArray | None:
    """sum_i softplus(base[b, i] + fields[i, c]), (b, C), with few logarithms; None where it would overflow.

    As log a + log b = log ab, many terms share one logarithm: as many as a float64 can hold.
    """
    if products is None:
        return None
    largest = np.abs(base).max(initial=0.0) + np.abs(fields).max(initial=0.0)
    groups_together = _fitting_groups(largest)
    if groups_together < 1:
        return None
    images, groups = len(base), len(products)
    factors = np.zeros((images, groups * _TOGETHER))
    np.exp(base, out=factors[:, : base.shape[1]])
    subsets = _subset_products(factors.reshape(images, groups, _TOGETHER, 1))[..., 0]
    terms = np.matmul(subsets.transpose(1, 0, 2), products)
    shared = np.multiply.reduceat(terms, np.arange(0, groups, groups_together), axis=0)
    return np.asarray(np.log(shared).sum(axis=0))


def _fitting_groups(largest: float) -> int:
    """How many groups of terms a float64 can hold multiplied, when no exponent is above ``largest``."""
    return int(_LARGEST_EXPONENT / (_TOGETHER * (largest + 1.0)))


def _subset_products(factors: FloatArray) -> FloatArray:
    """Products of all 8 subsets (..., 8, C) of three factors (..., 3, C); the empty subset comes first."""
    products = np.ones((*factors.shape[:-2], 1, factors.shape[-1]))
    for position in range(_TOGETHER):
        products = np.concatenate((products, products * factors[..., position : position + 1, :]), axis=-2)
    return products


def _draw_codes(weights: FloatArray, words: NDArray[np.uint64]) -> IndexList:
    """Class states (b, R) drawn from log weights (b, C) by words (b, R), 40 bits of each."""
    chances = np.cumsum(np.exp(weights - weights.max(axis=1, keepdims=True)), axis=1)
    chances /= chances[:, -1:]
    rows = np.arange(len(weights))[:, np.newaxis]
    uniform = (words >> np.uint64(24)) * 2.0**-40
    # One sorted list for all images; 40 bits beside at most 256 rows are exact in a float64.
    found = np.searchsorted((chances + rows).ravel(), (uniform + rows).ravel(), side="right")
    codes: IndexList = found.reshape(words.shape) - rows * weights.shape[1]
    return codes


def _distinct(codes: IndexList, states: int) -> tuple[IndexList, IndexList, IndexList]:
    """The distinct pairs (image, class state) as two lists, and where in them each read (b, R) belongs."""
    flat = codes + np.arange(len(codes))[:, np.newaxis] * states
    seen = np.zeros(len(codes) * states, dtype=np.bool_)
    seen[flat] = True
    pairs = np.flatnonzero(seen)
    place = np.empty(len(seen), dtype=np.intp)
    place[pairs] = np.arange(len(pairs))
    return pairs // states, pairs % states, place[flat]


def _thresholds(logits: FloatArray) -> NDArray[np.uint32]:
    """2^32 sigmoid(x) as uint32: a uniform 32-bit number lies below it with probability sigmoid(x)."""
    chance = 1.0 / (1.0 + np.exp(-np.clip(logits, -_SURE, _SURE)))
    return np.minimum(np.rint(chance * 2.0**32), 2.0**32 - 1).astype(np.uint32)


def _image_blocks(forest: Forest, images: int) -> Iterator[slice]:
    size = max(1, _BLOCK_BYTES // (8 * len(forest.codes) * max(1, len(forest.fields))))
    step = min(size, _BLOCK_IMAGES)
    for start in range(0, images, step):
        yield slice(start, start + step)


def _temper(forest: Forest, beta: float, statistic: Statistic) -> _Tempered:
    fields = -beta * forest.fields
    products = _products(fields[forest.roots]) if statistic == "sum" and len(fields) else None
    return _Tempered(forest, beta, statistic, fields, products)
