"""The Q matrix of a network: its quadratic biases, and the linear biases of each image.

In Ocean's words this is a batch of binary quadratic models (BQMs, BINARY) that share their quadratic biases.
Only the linear biases differ between images, so one :class:`EnergyModel` holds the quadratic biases once and
gives the linear biases of a batch as one array.

Signs (Higham and Bedford, arXiv 2107.08710, eq. 4 and 6, with one minus sign for each term; Q is minimised):

    Q[v_i, v_i]   = -f_i           feature value of the image
    Q[x_i, x_j]   = -W[i, j]       weight between consecutive layers; -alpha between a pool and its inputs
    Q[x_j, x_j]   = -b_j           bias of the network
    Q[hc_k, hc_k] = -lam           one-hot penalty, in addition to -b_k
    Q[hc_k, hc_l] = 2 lam          k < l

With m class units on, the penalty is lam (m^2 - 2 m): -lam for one class, 0 for none and for two.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, overload

import numpy as np
from numpy.typing import NDArray

from schema.errors import NetworkError, ParameterError
from worker.qubo.dense_groups import DenseGroup, layer_groups
from worker.qubo.exact_sums import summable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FloatArray = NDArray[np.float64]
BitArray = NDArray[np.uint8]
IndexArray = NDArray[np.int32]
Visible = Literal["sampled", "folded"]

# Reads are converted to floats in blocks: 1 MiB of float64 stays inside the second-level cache.
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, eq=False)
class Coupling:
    """Weights between two consecutive layers of units; the energy term is ``-weights[i, j] x_i x_j``.

    Attributes:
        weights: (n_in, n_out) float64, zero where ``mask`` is False.
        mask: (n_in, n_out) bool, True where units interact, even if the weight happens to be 0. A
            convolution's shared weights are expanded to columns (Higham and Bedford, Figure 2).

    Raises:
        NetworkError: shapes disagree, a weight is not finite, or a weight lies outside the mask.
    """

    weights: FloatArray
    mask: NDArray[np.bool_]

    def __post_init__(self) -> None:
        if self.weights.ndim != 2 or 0 in self.weights.shape:
            raise NetworkError(f"a coupling needs weights (n_in >= 1, n_out >= 1), not {self.weights.shape}")
        if self.mask.shape != self.weights.shape or self.mask.dtype != np.bool_:
            raise NetworkError(f"a coupling's mask must be bool {self.weights.shape}, not {self.mask.shape}")
        if not np.isfinite(self.weights).all():
            raise NetworkError("a coupling has weights that are not finite; train the network again")
        if np.any(self.weights[~self.mask]):
            raise NetworkError("a coupling has weights where its mask allows no coupler")


@dataclass(frozen=True, eq=False)
class EnergyModel:
    """E(x) = linear_b . x + sum_e couplings[e] x_i x_j with x in {0, 1}^n (BINARY), lower is better.

    Arrays are made read-only, because caches depend on them.

    Attributes:
        sizes: units in each layer in Q's order, the class layer last; the visible layer first if it is
            sampled, left out if it is folded.
        bias: (n,) float64, the linear biases that no image changes: minus the network's biases, and -lam on
            class units.
        edges: (m, 2) int32, i < j, sorted, each once.
        couplings: (m,) float64, quadratic biases: Q[i, j] of each edge.
        visible: ``sampled`` (linear[:, :nv] = bias[:nv] - f) or ``folded`` (linear = bias + f @ fold).
        fold: (nv, n) float64 if folded, else None.

    Raises:
        NetworkError: the parts do not fit together.

    Examples:
        One visible unit and two classes, weights 1 and -1, one-hot penalty 1:

        >>> head = Coupling(np.array([[1.0, -1.0]]), np.ones((1, 2), dtype=np.bool_))
        >>> model = build_model([head], None, lam=1.0)
        >>> model.q_matrix(np.array([0.5])).tolist()
        [[-0.5, -1.0, 1.0], [0.0, -1.0, 2.0], [0.0, 0.0, -1.0]]
        >>> reads = np.array([[[1, 1, 0], [1, 0, 1]]], dtype=np.uint8)
        >>> model.energies(model.linear(np.array([[0.5]])), reads).tolist()
        [[-2.5, -0.5]]
    """

    sizes: tuple[int, ...]
    bias: FloatArray
    edges: IndexArray
    couplings: FloatArray
    visible: Visible = "sampled"
    fold: FloatArray | None = None

    def __post_init__(self) -> None:
        _check_model(self)
        for array in (self.bias, self.edges, self.couplings, self.fold):
            if array is not None:
                array.setflags(write=False)

    @property
    def units(self) -> int:
        """Return the number of binary variables, n."""
        return len(self.bias)

    @property
    def feature_count(self) -> int:
        """Return the number of feature values of an image, nv."""
        return self.sizes[0] if self.fold is None else len(self.fold)

    @property
    def layers(self) -> tuple[slice, ...]:
        """Return the units of each layer, in Q's order."""
        ends = np.cumsum((0, *self.sizes)).tolist()
        return tuple(slice(start, stop) for start, stop in pairwise(ends))

    @property
    def class_units(self) -> slice:
        """Return the class units: the last layer."""
        return slice(self.units - self.sizes[-1], self.units)

    @cached_property
    def graph_digest(self) -> str:
        """Return the sha256, in hex, of n and the edges as little-endian int32.

        An embedding depends on nothing else: on which units interact, not how strongly.
        """
        header = np.asarray([self.units], dtype="<i4").tobytes()
        return hashlib.sha256(header + np.ascontiguousarray(self.edges, dtype="<i4").tobytes()).hexdigest()

    @cached_property
    def quadratic(self) -> FloatArray:
        """Return the quadratic biases (n, n) float64, strictly upper triangular, of all images. Read-only."""
        matrix = np.zeros((self.units, self.units))
        matrix[self.edges[:, 0], self.edges[:, 1]] = self.couplings
        matrix.setflags(write=False)
        return matrix

    def linear(self, features: NDArray[np.floating]) -> FloatArray:
        """Return the linear biases (B, n) float64 of a batch with ``features`` (B, nv).

        Sampled: -f on the visible units (Higham and Bedford, eq. 4, with one minus sign). Folded: known
        visible values move into the biases of their neighbours, bias_j - sum_i f_i W[i, j] (section 3.6).
        They are added up in the order of the units, so that equal features give equal bits on all machines.

        Raises:
            NetworkError: the features have another width or are not finite.
        """
        values = np.asarray(features, dtype=np.float64)
        if values.ndim != 2 or values.shape[1] != self.feature_count:
            raise NetworkError(f"the model takes features (B, {self.feature_count}), not {values.shape}")
        if not np.isfinite(values).all():
            raise NetworkError("the network gave features that are not finite; check its weights")
        linear = np.tile(self.bias, (len(values), 1))
        if self.fold is not None:
            for value, weights in zip(values.T, self.fold, strict=True):
                linear += value[:, np.newaxis] * weights
            return linear
        linear[:, : self.feature_count] -= values
        return linear

    @overload
    def energies(self, linear: FloatArray, bits: BitArray) -> FloatArray: ...

    @overload
    def energies(
        self, linear: FloatArray, bits: BitArray, dtype: type[np.float32]
    ) -> NDArray[np.float32]: ...

    def energies(
        self, linear: FloatArray, bits: BitArray, dtype: type[np.floating] = np.float64
    ) -> NDArray[np.floating]:
        """Return the energies (B, R) of reads.

        In float64 they have the same bits on all machines, whatever else is asked for: see `exact_sums`.

        Args:
            linear: (B, n) float64, linear biases of each image.
            bits: (B, R, n) uint8 in {0, 1}, reads of each image.
            dtype: of the arithmetic and of the result. float32 takes two thirds of the time, its last bits
                depend on the machine, and it cannot tell apart energies that differ by less than about 1e-6
                of their size.

        Raises:
            ParameterError: the shapes do not fit the model.
        """
        self._check_reads(linear, bits)
        most = self.units * np.abs(linear).max(axis=1, keepdims=True, initial=0.0)
        linear = summable(linear, most).astype(dtype, copy=False)
        energies = np.empty(bits.shape[:2], dtype)
        for images, reads in _blocks(*bits.shape):
            # A unit's values side by side, as unembedding leaves them: then they are only converted.
            states = bits[images, reads].transpose(2, 0, 1).astype(dtype, order="C")
            block = np.matmul(linear[images, np.newaxis], states.transpose(1, 0, 2))[:, 0]
            block += self._interaction(states.reshape(self.units, -1)).reshape(block.shape)
            energies[images, reads] = block
        return energies

    def q_matrix(self, features: NDArray[np.floating]) -> FloatArray:
        """Return Q (n, n) float64, upper triangular, of an image with ``features`` (nv,); E(x) = x^T Q x.

        Raises:
            NetworkError: as for :meth:`linear`.
        """
        matrix = self.quadratic.copy()
        np.fill_diagonal(matrix, self.linear(np.asarray(features)[np.newaxis])[0])
        return matrix

    def _interaction(self, columns: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return the quadratic term (N,) of the energies of states, given as columns (n, N)."""
        total = np.zeros(columns.shape[1], columns.dtype)
        for group in self._groups:
            fields = group.weights.T.astype(columns.dtype, copy=False) @ columns[group.inputs]
            total += np.einsum("jn,jn->n", fields, columns[group.outputs])
        return total

    @cached_property
    def _groups(self) -> tuple[DenseGroup, ...]:
        """Return dense pieces of Q: by layer, and by units with the same inputs if that is cheaper.

        A convolution has one group for each position, a pooling layer one for each pool, a dense layer one in
        all.
        """
        exists = np.zeros((self.units, self.units), dtype=np.bool_)
        exists[self.edges[:, 0], self.edges[:, 1]] = True
        quadratic = summable(self.quadratic, math.fsum(np.abs(self.couplings)))
        groups: list[DenseGroup] = []
        for layer in self.layers:
            groups += layer_groups(quadratic, exists, layer)
        return tuple(groups)

    def _check_reads(self, linear: FloatArray, bits: BitArray) -> None:
        if bits.ndim != 3 or bits.shape[2] != self.units or bits.dtype != np.uint8:
            raise ParameterError(f"reads must be uint8 (B, R, {self.units}), not {bits.dtype} {bits.shape}")
        if linear.shape != (len(bits), self.units):
            raise ParameterError(
                f"{len(bits)} images need linear biases ({len(bits)}, {self.units}), not {linear.shape}"
            )


def build_model(
    couplings: Sequence[Coupling],
    biases: Sequence[FloatArray] | None,
    lam: float,
    visible: Visible = "sampled",
) -> EnergyModel:
    """Return the energy model of a network; the last coupling leads to the class units.

    Args:
        couplings: visible -> ... -> class, each layer's n_out being the next one's n_in; at least one.
        biases: one array (n_out,) for each coupling, the network's own biases b; the energy term is ``-b_j
            x_j``. None: all 0.
        lam: one-hot penalty >= 0: Q[hc_k, hc_k] = -lam, Q[hc_k, hc_l] = 2 lam (Higham and Bedford, eq. 6,
            with lam = 1).
        visible: ``sampled`` leaves the visible units in the model, ``folded`` moves their values into the
            biases.

    Raises:
        NetworkError: layers do not join, or biases have other shapes.
        ParameterError: ``lam`` or ``visible`` is invalid.
    """
    if visible not in ("sampled", "folded"):
        raise ParameterError(f"visible must be sampled or folded, not {visible!r}")
    if not (np.isfinite(lam) and lam >= 0):
        raise ParameterError(f"lam must be a finite number >= 0, not {lam}")
    sizes = _join_sizes(couplings)
    bias = np.concatenate((np.zeros(sizes[0]), *_check_biases(couplings, biases)))
    bias[len(bias) - sizes[-1] :] -= lam
    edges, values = _all_edges(couplings, sizes, lam)
    if visible == "sampled":
        return EnergyModel(sizes, bias, edges, values)
    return _fold(couplings[0], sizes, bias, edges, values)


def _join_sizes(couplings: Sequence[Coupling]) -> tuple[int, ...]:
    if not couplings:
        raise NetworkError("a model needs at least one coupling, from visible units to class units")
    for index, (left, right) in enumerate(pairwise(couplings)):
        if left.weights.shape[1] != right.weights.shape[0]:
            raise NetworkError(
                f"coupling {index} ends in {left.weights.shape[1]} units, "
                f"coupling {index + 1} starts from {right.weights.shape[0]}"
            )
    return (couplings[0].weights.shape[0], *(coupling.weights.shape[1] for coupling in couplings))


def _check_biases(couplings: Sequence[Coupling], biases: Sequence[FloatArray] | None) -> list[FloatArray]:
    """Return the biases as terms of the energy, with a minus sign."""
    widths = [coupling.weights.shape[1] for coupling in couplings]
    if biases is None:
        return [np.zeros(width) for width in widths]
    shapes = [np.shape(bias) for bias in biases]
    if shapes != [(width,) for width in widths]:
        raise NetworkError(f"biases must have shapes {[(width,) for width in widths]}, not {shapes}")
    if not all(np.isfinite(bias).all() for bias in biases):
        raise NetworkError("the network has biases that are not finite; train it again")
    return [-np.asarray(bias, dtype=np.float64) for bias in biases]


def _all_edges(
    couplings: Sequence[Coupling], sizes: tuple[int, ...], lam: float
) -> tuple[IndexArray, FloatArray]:
    """Return the edges (m, 2), sorted by (i, j), and their Q entries (m,), class pairs included."""
    starts = np.cumsum((0, *sizes))
    edges, values = [], []
    for layer, coupling in enumerate(couplings):
        pairs = np.argwhere(coupling.mask)
        edges.append(pairs + starts[layer : layer + 2])
        values.append(-coupling.weights[coupling.mask])
    pairs = np.argwhere(np.triu(np.ones((sizes[-1], sizes[-1]), dtype=np.bool_), k=1))
    edges.append(pairs + starts[-2])
    values.append(np.full(len(pairs), 2.0 * lam))
    joined = np.concatenate(edges)
    order = np.lexsort((joined[:, 1], joined[:, 0]))
    return joined[order].astype(np.int32), np.concatenate(values)[order]


def _fold(
    first: Coupling, sizes: tuple[int, ...], bias: FloatArray, edges: IndexArray, values: FloatArray
) -> EnergyModel:
    visible_count = sizes[0]
    remaining = edges[:, 0] >= visible_count
    fold = np.zeros((visible_count, len(bias) - visible_count))
    fold[:, : sizes[1]] = -first.weights
    return EnergyModel(
        sizes[1:],
        bias[visible_count:].copy(),
        edges[remaining] - np.int32(visible_count),
        values[remaining],
        "folded",
        fold,
    )


def _check_model(model: EnergyModel) -> None:
    units = sum(model.sizes)
    if not model.sizes or min(model.sizes) < 1 or model.bias.shape != (units,):
        raise NetworkError(f"layers {model.sizes} need a bias for each of {units} units")
    if model.edges.shape != (len(model.couplings), 2) or model.couplings.ndim != 1:
        raise NetworkError(f"{model.couplings.shape} couplings do not fit edges {model.edges.shape}")
    if (model.visible == "folded") != (model.fold is not None):
        raise NetworkError("a folded model needs its fold matrix, a sampled one has none")
    if model.fold is not None and (model.fold.ndim != 2 or model.fold.shape[1] != units):
        raise NetworkError(f"the fold matrix must be (nv, {units}), not {model.fold.shape}")
    _check_edges(model.edges, units)
    parts = (model.bias, model.couplings, *(() if model.fold is None else (model.fold,)))
    if not all(np.isfinite(part).all() for part in parts):
        raise NetworkError("a model's biases and couplings must be finite")


def _check_edges(edges: IndexArray, units: int) -> None:
    low, high = edges[:, 0].astype(np.int64), edges[:, 1].astype(np.int64)
    if np.any(low < 0) or np.any(low >= high) or np.any(high >= units):
        raise NetworkError(f"edges must join two of {units} units, the lower first")
    if np.any(np.diff(low * units + high) <= 0):
        raise NetworkError("edges must be sorted, each one once")


def _blocks(images: int, reads: int, units: int) -> Iterator[tuple[slice, slice]]:
    """Return pieces of (B, R) that are small enough for the cache."""
    rows = max(1, _BLOCK_BYTES // (8 * units))
    image_step, read_step = max(1, rows // max(1, reads)), min(max(1, reads), rows)
    for image in range(0, images, image_step):
        for read in range(0, reads, read_step):
            yield slice(image, image + image_step), slice(read, read + read_step)
