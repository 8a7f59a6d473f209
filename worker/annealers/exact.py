"""Draws exact samples of the Boltzmann distribution exp(-beta E) / Z, by enumerating the class states.

With the class units known, the other units of a small network form trees (`forest.py`). A tree of binary
units can be summed exactly, by belief propagation from its leaves to its root (Pearl 1982). There are four
steps:

1. Upwards. The logit of a unit, the log odds that it is on, is -beta (linear term + field of the class
   state). A leaf with logit l adds log(1 + e^l) to the log weight of its tree if its parent is off, and
   log(1 + e^(l - beta J)) if it is on. The first is a constant, and the difference is the leaf's message to
   the parent's logit (`_climb`).
2. Class states. With all trees summed, each of the 2^K class states has its exact log weight
   (`_class_weights`); the states of the reads are drawn from these by inverting their cumulated sum
   (`_draw_codes`).
3. Roots. For each distinct pair of image and class state, step 1 gives the logits of that state; a root is
   on with probability sigmoid(logit).
4. Downwards. A child is on with probability sigmoid(logit - beta J) if its parent is on, else sigmoid(logit).

Reads are independent; nothing is annealed. For a head all units are roots, and the log weight of a one-hot
class state is minus beta times the free energy of a discriminative restricted Boltzmann machine (Larochelle
and Bengio 2008). Uniform numbers have 40 bits for the class state and 32 bits for every other unit.

One visible unit and two class units; at a low temperature all reads are the minimum, here v = 1 and class 0:

>>> import numpy as np
>>> from worker.qubo.energy_model import EnergyModel
>>> edges = np.array([[0, 1], [0, 2], [1, 2]], dtype=np.int32)
>>> model = EnergyModel((1, 2), np.array([0.0, -1.0, -1.0]), edges, np.array([-0.5, 0.5, 2.0]))
>>> linear = model.linear(np.array([[0.8]]))
>>> samples = ExactAnnealer(beta=1000.0).sample(model, linear, reads=2, seed=0)
>>> samples.bits.tolist(), samples.energies.round(9).tolist()
([[[1, 1, 0], [1, 1, 0]]], [[-2.3, -2.3]])
"""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING

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

# A few images at a time, so that images x class states x units stay in the cache.
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
    """A forest at one temperature, with what all images share."""

    forest: Forest
    beta: float
    fields: FloatArray  # (n_rest, C) float64, -beta times those of the forest
    products: FloatArray | None  # see `_products`


@dataclass(frozen=True)
class ExactAnnealer:
    """Independent draws from exp(-beta E) / Z, for models whose units form trees once the classes are known.

    Raises:
        ParameterError: ``beta`` is not positive and finite.
    """

    beta: float | None = None  # inverse temperature in the model's own units, > 0; None: see `default_beta`

    def __post_init__(self) -> None:
        if self.beta is not None and not (np.isfinite(self.beta) and self.beta > 0.0):
            raise ParameterError(f"beta must be a finite number above 0, not {self.beta}")

    @property
    def name(self) -> str:
        """Return ``exact``: the reference for every other sampler."""
        return "exact"

    def check(self, model: EnergyModel) -> None:
        """Raise Refused if ``model`` has over 16 class units, or cycles among its other units."""
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
        """Draw ``reads`` reads of each image of ``linear`` under ``model``, as `LocalAnnealer.sample` says.

        ``seed``, ``first_image``, ``noise`` and ``check_interrupt`` are explained there.

        ``noise`` changes the couplings, so that each image has its own distribution to enumerate: several
        times slower. The temperature stays that of ``model`` without noise.

        Weights are float64: another division into batches may round them differently, and a uniform number at
        just that place then gives another read.
        """
        check_request(model, linear, reads, seed, first_image)
        started, check_interrupt = perf_counter(), check_interrupt or no_interrupt
        beta, forest = self.beta or default_beta(model), cached_forest(model)
        bits = np.empty((len(linear), reads, model.units), dtype=np.uint8)
        if noise is None:
            tempered = _temper(forest, beta)
            for block in _image_blocks(forest, len(linear)):
                check_interrupt()
                _draw_block(tempered, linear[block], seed, first_image + block.start, bits[block])
        else:
            for image, row in enumerate(linear):
                check_interrupt()
                noisy, noisy_row = noise.apply(model, row, first_image + image)
                tempered = _temper(build_forest(noisy), beta)
                _draw_block(
                    tempered, noisy_row[np.newaxis], seed, first_image + image, bits[image : image + 1]
                )
        return LogicalSamples(bits, model.energies(linear, bits), perf_counter() - started)


def default_beta(model: EnergyModel) -> float:
    """Return the inverse temperature if none is set: 1 / the smallest scale of the couplings of ``model``.

    Warm enough for the network's own uncertainty to show in the reads, cold enough for the lowest tenth of
    them to agree: tests/benchmarks/test_annealers.py prints the accuracy for this and other temperatures.
    """
    return 1.0 / coupling_scales(model)[0]


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


def _class_weights(tempered: _Tempered, linear: FloatArray) -> FloatArray:
    """Return the log weight (b, C) of every class state, with all other units summed out.

    For one-hot class states and single units: beta lam + sum_i softplus(beta (f_i + W[i, k])).
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
        summed = _softplus(roots).sum(axis=1)
    weights += summed
    return weights


def _climb(
    tempered: _Tempered, logits: FloatArray, fields: FloatArray | None
) -> tuple[FloatArray, FloatArray | None]:
    """Send messages from the leaves to the roots; ``logits`` (b, n_rest) receive those free of the classes.

    Args:
        tempered: the forest.
        logits: changed in place.
        fields: (n_rest, C) logits from each class state; None when ``logits`` hold one class state a row.

    Returns:
        The log weight of the levels below the roots, (b, C) or (b, 1), and the messages that depend on the
        class state, (b, n_rest, C) or None.
    """
    constant, extra = np.zeros((len(logits), 1)), None
    for level in tempered.forest.levels:
        here = logits[:, level.units, np.newaxis]
        if fields is not None and level.depends:
            extra = np.zeros((len(logits), *fields.shape)) if extra is None else extra
            here = here + fields[level.units] + extra[:, level.units]
        off = _softplus(here)
        message = _softplus(here - tempered.beta * level.couplings[:, np.newaxis]) - off
        constant = constant + off.sum(axis=1)
        if here.shape[2] == 1:
            logits += message[..., 0] @ level.to_parents
        elif extra is not None:
            extra += level.to_parents.T @ message
    return constant, extra


def _softplus(logits: FloatArray) -> FloatArray:
    """Return log(1 + exp(x)), without overflow."""
    result: FloatArray = np.maximum(logits, 0.0)
    result += np.log1p(np.exp(-np.abs(logits)))
    return result


def _products(fields: FloatArray) -> FloatArray | None:
    """Return tables (g, 8, C) that multiply out three terms 1 + exp(base_i + field_i) each; ``fields`` (r,
    C).

    Row s of group t holds the product of exp(field_i) over the units i of subset s. A matrix product with
    the products of exp(base) over the same subsets gives the three terms' product for every image and class
    state, because (1 + ab)(1 + cd) = 1 + ab + cd + ac bd. None where the tables would overflow.
    """
    if _fitting_groups(np.abs(fields).max(initial=0.0)) < 1:
        return None
    groups = -(-len(fields) // _TOGETHER)
    factors = np.zeros((groups * _TOGETHER, fields.shape[1]))
    np.exp(fields, out=factors[: len(fields)])
    return _subset_products(factors.reshape(groups, _TOGETHER, -1))


def _sum_products(base: FloatArray, fields: FloatArray, products: FloatArray | None) -> FloatArray | None:
    """Return sum_i softplus(base[b, i] + fields[i, c]), (b, C), with few logarithms; None on overflow.

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
    """Return how many groups of terms a float64 can hold multiplied, with no exponent above ``largest``."""
    return int(_LARGEST_EXPONENT / (_TOGETHER * (largest + 1.0)))


def _subset_products(factors: FloatArray) -> FloatArray:
    """Return the products of all 8 subsets (..., 8, C) of ``factors`` (..., 3, C); the empty subset first.

    >>> _subset_products(np.array([[2.0], [3.0], [5.0]]))[:, 0].tolist()
    [1.0, 2.0, 3.0, 6.0, 5.0, 10.0, 15.0, 30.0]
    """
    products = np.ones((*factors.shape[:-2], 1, factors.shape[-1]))
    for position in range(_TOGETHER):
        products = np.concatenate((products, products * factors[..., position : position + 1, :]), axis=-2)
    return products


def _draw_codes(weights: FloatArray, words: NDArray[np.uint64]) -> IndexList:
    """Draw class states (b, R) from log ``weights`` (b, C), with 40 bits of each of ``words`` (b, R)."""
    chances = np.cumsum(np.exp(weights - weights.max(axis=1, keepdims=True)), axis=1)
    chances /= chances[:, -1:]
    rows = np.arange(len(weights))[:, np.newaxis]
    uniform = (words >> np.uint64(24)) * 2.0**-40
    # One sorted list for all images; 40 bits and the 8 bits of at most 256 rows are exact in a float64.
    positions = np.searchsorted((chances + rows).ravel(), (uniform + rows).ravel(), side="right")
    codes: IndexList = positions.reshape(words.shape) - rows * weights.shape[1]
    return codes


def _distinct(codes: IndexList, states: int) -> tuple[IndexList, IndexList, IndexList]:
    """Return the distinct pairs (image, class state) as two lists, and the pair of each read (b, R)."""
    flat = codes + np.arange(len(codes))[:, np.newaxis] * states
    seen = np.zeros(len(codes) * states, dtype=np.bool_)
    seen[flat] = True
    pairs = np.flatnonzero(seen)
    place = np.empty(len(seen), dtype=np.intp)
    place[pairs] = np.arange(len(pairs))
    return pairs // states, pairs % states, place[flat]


def _thresholds(logits: FloatArray) -> NDArray[np.uint32]:
    """Return 2^32 sigmoid(x) as uint32: a uniform 32-bit number is below with probability sigmoid(x)."""
    chance = 1.0 / (1.0 + np.exp(-np.clip(logits, -_SURE, _SURE)))
    return np.minimum(np.rint(chance * 2.0**32), 2.0**32 - 1).astype(np.uint32)


def _image_blocks(forest: Forest, images: int) -> Iterator[slice]:
    size = max(1, _BLOCK_BYTES // (8 * len(forest.codes) * max(1, len(forest.fields))))
    step = min(size, _BLOCK_IMAGES)
    for start in range(0, images, step):
        yield slice(start, start + step)


def _temper(forest: Forest, beta: float) -> _Tempered:
    fields = -beta * forest.fields
    return _Tempered(forest, beta, fields, _products(fields[forest.roots]) if len(fields) else None)
