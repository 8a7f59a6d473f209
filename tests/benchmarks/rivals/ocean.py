"""One image in Ocean: a BQM from Q, embedded, encoded, its answer decoded, unembedded, and counted.

Reads are counted in two ways: with a loop over the samples, as in Ocean's examples, and with numpy.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from types import SimpleNamespace
from typing import Any

import dimod
import numpy as np
from dwave.cloud.coders import decode_qp_numpy, encode_problem_as_qp
from dwave.embedding import EmbeddedStructure, unembed_sampleset
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass
class Chip:
    """A solver's graph, as Ocean's structured samplers hold it."""

    qubits: list[int]
    couplers: list[tuple[int, int]]

    def __post_init__(self) -> None:
        self.solver = SimpleNamespace(_encoding_qubits=self.qubits, _encoding_couplers=self.couplers)


@dataclass
class Image:
    """One image on its way. ``embedding``: unit to chain."""

    chip: Chip
    structure: EmbeddedStructure
    embedding: dict[int, list[int]]
    bqm: dimod.BinaryQuadraticModel

    @classmethod
    def build(
        cls,
        chip: Chip,
        structure: EmbeddedStructure,
        embedding: dict[int, list[int]],
        linear: FloatArray,
        edges: NDArray[np.integer],
        couplings: FloatArray,
    ) -> Image:
        """The energy function of an image: Q's diagonal, and what lies off it."""
        bqm = dimod.BinaryQuadraticModel.from_numpy_vectors(
            linear, (edges[:, 0], edges[:, 1], couplings), 0.0, "BINARY"
        )
        return cls(chip, structure, embedding, bqm.change_vartype("SPIN", inplace=True))

    def encode(self, chain_strength: float) -> dict[str, Any]:
        """The problem on the chip's qubits, as the wire has it."""
        embedded = self.structure.embed_bqm(self.bqm, chain_strength=chain_strength)
        return dict(encode_problem_as_qp(self.chip.solver, dict(embedded.linear), dict(embedded.quadratic)))

    def decode(self, message: dict[str, Any]) -> dimod.SampleSet:
        """The reads of the units, by majority vote, with their energies."""
        answer = decode_qp_numpy({**message, "answer": dict(message["answer"])})
        active = answer["active_variables"]
        reads = dimod.SampleSet.from_samples(
            (answer["solutions"][:, active], active.tolist()), "SPIN", energy=answer["energies"]
        )
        return unembed_sampleset(reads, self.embedding, self.bqm)


def count_by_loop(reads: dimod.SampleSet, classes: list[int], fraction: float) -> FloatArray:
    """Mean of each class unit over the lowest fraction of the reads."""
    kept = int(np.ceil(fraction * len(reads)))
    scores = dict.fromkeys(classes, 0.0)
    for datum in islice(reads.data(sorted_by="energy"), kept):
        for unit in classes:
            scores[unit] += (datum.sample[unit] + 1) / 2
    return np.array([scores[unit] / kept for unit in classes])


def count_by_argsort(reads: dimod.SampleSet, classes: list[int], fraction: float) -> FloatArray:
    """The same on the arrays of the record."""
    kept = int(np.ceil(fraction * len(reads)))
    order = np.argsort(reads.record.energy, kind="stable")[:kept]
    columns = [reads.variables.index(unit) for unit in classes]
    means: FloatArray = ((reads.record.sample[order][:, columns] + 1) / 2).mean(axis=0)
    return means
