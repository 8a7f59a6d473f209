"""Sums of rounded values are exact: the same in any order, and close to those of the values themselves."""

from __future__ import annotations

import hashlib
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.qubo.exact_sums import summable

ROOT = Path(__file__).parents[4]

# Far above the smallest float32: what is below that is 0 there.
numbers = st.lists(st.floats(1e-30, 1e6) | st.floats(-1e6, -1e-30) | st.just(0.0), min_size=1, max_size=60)


@given(numbers, st.randoms(use_true_random=False), st.sampled_from([np.float64, np.float32]))
def test_a_sum_is_exact_in_any_order(values: list[float], order, dtype) -> None:
    most = math.fsum(map(abs, values))
    rounded = summable(np.array(values), most, dtype).astype(dtype)
    shuffled = rounded.copy()
    order.shuffle(shuffled)
    exact = math.fsum(rounded.tolist())
    for part in (rounded, shuffled):
        total = dtype(0)
        for value in part:
            total = dtype(total + value)
        assert float(total) == float(part.sum(dtype=dtype)) == exact
    digits = 2.0**-52 if dtype is np.float64 else 2.0**-23
    assert np.abs(rounded.astype(np.float64) - values).max() <= most * digits


def test_rows_are_rounded_by_themselves() -> None:
    rows = np.random.default_rng(1).normal(size=(5, 40)) * 10.0 ** np.arange(5)[:, np.newaxis]
    most = np.abs(rows).sum(axis=1, keepdims=True)
    together = summable(rows, most)
    for row, limit, rounded in zip(rows, most, together, strict=True):
        assert np.array_equal(summable(row, limit), rounded)


_PROGRAM = """
import hashlib
import numpy as np
from schema.codecs.tiling import Tiling
from schema.parameters import Unembedding
from worker.embedding.model.unembedding import unembed
from worker.qubo.class_states import class_minima
from worker.qubo.energy_model import Coupling, build_model

rng = np.random.default_rng(7)
def coupling(before, after):
    return Coupling(rng.normal(size=(before, after)), np.ones((before, after), np.bool_))
state = hashlib.sha256()
for visible, sizes in (("sampled", (60, 10)), ("folded", (60, 50, 10)), ("sampled", (37, 41, 9))):
    couplings = [coupling(*pair) for pair in zip(sizes, sizes[1:])]
    model = build_model(couplings, None, 2.0, visible)
    linear = model.linear(rng.uniform(-1, 1, (33, sizes[0])).astype(np.float32).astype(np.float64))
    bits = rng.integers(0, 2, (33, 70, model.units), dtype=np.uint8)
    state.update(linear.tobytes() + model.energies(linear, bits).tobytes())
    minima = class_minima(model, linear)
    state.update(b"" if minima is None else minima.tobytes())
    lengths = np.full((3, model.units), 2, np.int32)
    tiles = Tiling(lengths, np.arange(6 * model.units, dtype=np.int32))
    reads = np.packbits(rng.integers(0, 2, (70, 6 * model.units), dtype=np.uint8), axis=1)
    spin = (linear[:3], model.quadratic + model.quadratic.T)
    state.update(unembed(reads, tiles, Unembedding.MINIMIZE_ENERGY, spin=spin).bits.tobytes())
print(state.hexdigest())
"""


def digest_of(**variables: str) -> str:
    env = {**os.environ, **variables}
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM], env=env, cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert len(done.stdout.strip()) == hashlib.sha256().digest_size * 2
    return done.stdout


@pytest.mark.parametrize(
    "variables",
    [
        {"OPENBLAS_NUM_THREADS": "1"},
        {"OPENBLAS_CORETYPE": "Prescott"},
        {"OPENBLAS_CORETYPE": "Nehalem"},
        {"NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL"},  # as numpy 2.4 calls them
    ],
    ids=lambda variables: "-".join(variables.values()),
)
def test_results_do_not_depend_on_what_the_processor_can_do(variables: dict[str, str]) -> None:
    assert digest_of(**variables) == digest_of()
