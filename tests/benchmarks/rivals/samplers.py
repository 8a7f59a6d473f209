"""Samplers that others would take for a head: the library's, exact trees, and block Gibbs sampling.

Block Gibbs sampling draws all visible units at once, since they depend on the class units only, then the
class units one after another, for all reads in one array operation.
"""

from __future__ import annotations

import dimod
import numpy as np
from dwave.samplers import SimulatedAnnealingSampler, TreeDecompositionSampler
from numpy.typing import NDArray

from worker.qubo.energy_model import EnergyModel, FloatArray


def bqm(model: EnergyModel, linear: FloatArray) -> dimod.BinaryQuadraticModel:
    """Return the BQM of one image, whose ``linear`` terms are (n,)."""
    pairs = {(int(i), int(j)): value for (i, j), value in zip(model.edges, model.couplings, strict=True)}
    return dimod.BinaryQuadraticModel(dict(enumerate(linear)), pairs, 0.0, dimod.BINARY)


def simulated_annealing(
    models: list[dimod.BinaryQuadraticModel],
    reads: int,
    sweeps: int,
    beta_range: tuple[float, float] | None = None,
) -> FloatArray:
    """Return the energies (B, R) of dwave-samplers' simulated annealing, image after image."""
    sampler = SimulatedAnnealingSampler()
    answers = (
        sampler.sample(one, num_reads=reads, num_sweeps=sweeps, seed=0, beta_range=beta_range)
        for one in models
    )
    return np.array([answer.record.energy for answer in answers])


def trees(models: list[dimod.BinaryQuadraticModel], reads: int, beta: float) -> FloatArray:
    """Return the energies (B, R) of dwave-samplers' exact draws by a tree decomposition."""
    sampler = TreeDecompositionSampler()
    answers = (sampler.sample(one, num_reads=reads, beta=beta, marginals=False, seed=0) for one in models)
    return np.array([np.repeat(a.record.energy, a.record.num_occurrences) for a in answers])


def numpy_gibbs(model: EnergyModel, linear: FloatArray, reads: int, betas: list[float]) -> FloatArray:
    """Return the energies (B, R) of block Gibbs sampling at ``betas``, in float32."""
    visible, classes, between, among = _blocks(model)
    random, bits = np.random.default_rng(0), np.empty((len(linear), reads, model.units), np.uint8)
    for image, row in enumerate(linear.astype(np.float32)):
        y = random.integers(0, 2, (reads, classes)).astype(np.float32)
        x = np.empty((reads, visible), np.float32)
        for beta in betas:
            # sigmoid(-beta E) > u, without an exponential of large numbers
            x[:] = row[:visible] + y @ between.T < _logits(random.random(x.shape, np.float32)) / beta
            fields, noise = (
                row[visible:] + x @ between,
                _logits(random.random(y.shape, np.float32)) / beta,
            )
            for unit in range(classes):
                y[:, unit] = fields[:, unit] + y @ among[unit] < noise[:, unit]
        bits[image, :, :visible], bits[image, :, visible:] = x, y
    return model.energies(linear, bits)


def torch_gibbs(model: EnergyModel, linear: FloatArray, reads: int, betas: list[float]) -> FloatArray:
    """Return the same by torch, for all images in one tensor."""
    import torch

    visible, classes, between_array, among_array = _blocks(model)
    between, among = torch.from_numpy(between_array), torch.from_numpy(among_array)
    rows = torch.from_numpy(linear.astype(np.float32))[:, None]
    random = torch.Generator().manual_seed(0)
    y = torch.randint(0, 2, (len(linear), reads, classes), generator=random).float()
    x = torch.empty((len(linear), reads, visible))
    for beta in betas:
        x = (
            rows[..., :visible] + y @ between.T < torch.rand(x.shape, generator=random).logit(1e-7) / beta
        ).float()
        fields = rows[..., visible:] + x @ between
        noise = torch.rand(y.shape, generator=random).logit(1e-7) / beta
        for unit in range(classes):
            y[..., unit] = (fields[..., unit] + y @ among[unit] < noise[..., unit]).float()
    bits = torch.cat((x, y), dim=2).to(torch.uint8).numpy()
    return model.energies(linear, bits)


def _blocks(model: EnergyModel) -> tuple[int, int, NDArray[np.float32], NDArray[np.float32]]:
    """Return the numbers of visible and class units, and their couplings (V, K) and (K, K)."""
    visible, classes = model.sizes
    quadratic = (model.quadratic + model.quadratic.T).astype(np.float32)
    return visible, classes, quadratic[:visible, visible:].copy(), quadratic[visible:, visible:].copy()


def _logits(uniform: NDArray[np.float32]) -> NDArray[np.float32]:
    uniform = np.clip(uniform, 1e-7, 1 - 6e-8)
    logits: NDArray[np.float32] = np.log(uniform / (1 - uniform))
    return -logits
