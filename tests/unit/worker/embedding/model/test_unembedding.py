"""Unembedding, judged by Ocean's own functions."""

from __future__ import annotations

import dimod
import dwave.embedding
import numpy as np
import pytest

from schema.codecs.tiling import Tiling
from schema.errors import Corrupt
from schema.parameters import Unembedding
from worker.embedding.model.unembedding import unembed
from worker.qubo.energy_model import EnergyModel
from worker.qubo.ising import spin_form


def _reads(tiling: Tiling, reads: int, seed: int = 0) -> np.ndarray:
    """Reads (R, A) whose chains are whole in most places."""
    drawn = np.random.default_rng(seed)
    units = drawn.random((reads, tiling.lengths.size)) < 0.5
    rows = np.repeat(units, tiling.lengths.ravel(), axis=1) ^ (
        drawn.random((reads, len(tiling.qubits))) < 0.08
    )
    return rows[:, np.argsort(tiling.qubits)].astype(np.uint8)


def _by_ocean(
    reads: np.ndarray, tiling: Tiling, tile: int, bqm: dimod.BinaryQuadraticModel, method: object
) -> np.ndarray:
    samples = dimod.SampleSet.from_samples(
        (2 * reads.astype(np.int8) - 1, np.sort(tiling.qubits).tolist()), energy=0.0, vartype="SPIN"
    )
    chains = {unit: tiling.chain(tile, unit).tolist() for unit in range(tiling.units)}
    out = dwave.embedding.unembed_sampleset(samples, chains, bqm, chain_break_method=method)
    columns = [list(out.variables).index(unit) for unit in range(tiling.units)]
    return (out.record.sample[:, columns] > 0).astype(np.uint8)


def _bqm(model: EnergyModel, h: np.ndarray, J: np.ndarray) -> dimod.BinaryQuadraticModel:
    bqm = dimod.BinaryQuadraticModel("SPIN")
    bqm.add_linear_from_array(h)
    bqm.add_quadratic_from((i, j, b) for (i, j), b in zip(model.edges.tolist(), J, strict=True))
    return bqm


@pytest.mark.parametrize(
    "rule", [Unembedding.MAJORITY_VOTE, Unembedding.DISCARD, Unembedding.MINIMIZE_ENERGY]
)
def test_units_are_those_of_unembed_sampleset(rule: Unembedding, model: EnergyModel, tiling: Tiling) -> None:
    reads = _reads(tiling, 200)
    linear = np.random.default_rng(3).normal(size=(tiling.tiles, model.units))
    spin = spin_form(linear, model.edges, model.couplings)
    dense = np.zeros((model.units, model.units))
    dense[tuple(model.edges.T)] = spin.J
    out = unembed(np.packbits(reads, axis=1), tiling, rule, spin=(spin.h, dense + dense.T))
    for tile in range(tiling.tiles):
        bqm = _bqm(model, spin.h[tile], spin.J)
        methods = {
            Unembedding.MAJORITY_VOTE: dwave.embedding.majority_vote,
            Unembedding.DISCARD: dwave.embedding.discard,
        }
        chains = {unit: tiling.chain(tile, unit).tolist() for unit in range(tiling.units)}
        method = methods.get(rule) or dwave.embedding.MinimizeEnergy(bqm, chains)
        expected = _by_ocean(reads, tiling, tile, bqm, method)
        np.testing.assert_array_equal(out.bits[tile][out.counted[tile]], expected)


@pytest.mark.parametrize("count", [1, 7, 8, 63, 64, 65, 300])
def test_chain_breaks_are_oceans(tiling: Tiling, count: int) -> None:
    reads = _reads(tiling, count)
    out = unembed(np.packbits(reads, axis=1), tiling)
    sorted_qubits = np.sort(tiling.qubits)
    for tile in range(tiling.tiles):
        chains = [np.searchsorted(sorted_qubits, tiling.chain(tile, u)).tolist() for u in range(tiling.units)]
        broken = dwave.embedding.broken_chains(2 * reads.astype(np.int8) - 1, chains)
        np.testing.assert_allclose(out.chain_breaks[tile], broken.mean(axis=0))
    assert out.chain_breaks.mean() < 0.5
    assert out.chain_breaks.any() or count < 63


def test_weighted_random_follows_the_share_of_qubits_and_the_seed() -> None:
    tiling = Tiling.from_chains([[[0, 1, 2, 3], [4]]])
    reads = np.tile(np.array([[1, 0, 0, 0, 1]], dtype=np.uint8), (4000, 1))
    out = unembed(np.packbits(reads, axis=1), tiling, Unembedding.WEIGHTED_RANDOM, seed=1)
    assert out.bits[0, :, 0].mean() == pytest.approx(0.25, abs=0.03)
    assert out.bits[0, :, 1].all()
    again = unembed(np.packbits(reads, axis=1), tiling, Unembedding.WEIGHTED_RANDOM, seed=1)
    np.testing.assert_array_equal(out.bits, again.bits)
    other = unembed(np.packbits(reads, axis=1), tiling, Unembedding.WEIGHTED_RANDOM, seed=2)
    assert (out.bits != other.bits).any()


def test_long_chains_are_counted_whole() -> None:
    tiling = Tiling.from_chains([[list(range(600)), [600]]])
    reads = np.zeros((3, 601), dtype=np.uint8)
    reads[0, :299], reads[1, :300], reads[2, :] = 1, 1, 1
    assert unembed(np.packbits(reads, axis=1), tiling).bits[0, :, 0].tolist() == [0, 1, 1]


def test_an_answer_of_another_size_is_refused(tiling: Tiling) -> None:
    with pytest.raises(Corrupt, match="bytes does not hold"):
        unembed(np.packbits(_reads(tiling, 3), axis=1)[:, 1:], tiling)
