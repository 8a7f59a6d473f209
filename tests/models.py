"""Energy models for tests: the shapes of the presets with random weights, and small ones of any shape."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from worker.qubo.energy_model import Coupling, EnergyModel, FloatArray, Visible, build_model


def dense(rng: np.random.Generator, inputs: int, outputs: int, spread: float = 1.0) -> Coupling:
    return Coupling(rng.normal(0.0, spread, (inputs, outputs)), np.ones((inputs, outputs), dtype=np.bool_))


def sparse(rng: np.random.Generator, inputs: int, outputs: int, density: float) -> Coupling:
    mask = rng.random((inputs, outputs)) < density
    return Coupling(np.where(mask, rng.normal(0.0, 1.0, mask.shape), 0.0), mask)


def pools(count: int, size: int, alpha: float = 1.0) -> Coupling:
    mask = np.repeat(np.eye(count, dtype=np.bool_), size, axis=0)
    return Coupling(alpha * mask, mask)


def convolution(rng: np.random.Generator) -> Coupling:
    """8 filters of 5 x 5 on 14 x 14 pixels, stride 3: 8 x 4 x 4 units whose weights are shared."""
    weights, mask = np.zeros((14, 14, 8, 4, 4)), np.zeros((14, 14, 8, 4, 4), dtype=np.bool_)
    filters = rng.normal(0.0, 1.0, (5, 5, 8))
    for row in range(4):
        for column in range(4):
            patch = (slice(3 * row, 3 * row + 5), slice(3 * column, 3 * column + 5), slice(None), row, column)
            weights[patch], mask[patch] = filters, True
    return Coupling(weights.reshape(196, 128), mask.reshape(196, 128))


def head(visible: Visible = "sampled", units: int = 40, classes: int = 10, lam: float = 2.0) -> EnergyModel:
    """The shape of `mnist`: visible units and class units."""
    return build_model([dense(np.random.default_rng(1), units, classes, 0.4)], None, lam, visible)


def pooled(visible: Visible = "sampled", count: int = 5, size: int = 4, classes: int = 5) -> EnergyModel:
    """The shape of `digits5x5`: visible units, pooling units and class units."""
    couplings = [pools(count, size), dense(np.random.default_rng(2), count, classes)]
    return build_model(couplings, None, 2.0, visible)


def conv358(visible: Visible = "sampled") -> EnergyModel:
    """The shape of `conv358`, with biases."""
    rng = np.random.default_rng(3)
    couplings = [convolution(rng), dense(rng, 128, 24), dense(rng, 24, 10)]
    return build_model(couplings, [rng.normal(size=size) for size in (128, 24, 10)], 1.0, visible)


def features_for(model: EnergyModel, images: int, seed: int = 0) -> FloatArray:
    return np.random.default_rng(seed).uniform(-1.0, 1.0, (images, model.feature_count))


def all_states(units: int) -> NDArray[np.uint8]:
    """Every state (2^n, n) uint8."""
    return (np.arange(1 << units)[:, np.newaxis] >> np.arange(units) & 1).astype(np.uint8)


@st.composite
def small_models(draw: st.DrawFn, most_units: int = 9) -> EnergyModel:
    """Two to four layers with random masks, sampled or folded."""
    sizes = draw(st.lists(st.integers(1, 4), min_size=2, max_size=4).filter(lambda s: sum(s) <= most_units))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    density = draw(st.sampled_from([0.3, 0.7, 1.0]))
    couplings = [sparse(rng, *pair, density) for pair in pairwise(sizes)]
    biases = [rng.normal(size=size) for size in sizes[1:]]
    lam = draw(st.floats(0.0, 8.0))
    return build_model(
        couplings, draw(st.none() | st.just(biases)), lam, draw(st.sampled_from(["sampled", "folded"]))
    )
