"""Reads of images on an emulated chip with all of its errors, drawn in this process, without server or queue.

The problems are those that workers send, and the answers those of the emulator; only the fit of the J-induced
bias is left out: problems make up for the bias that the chip has, as they do after some problems of a run.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import orjson
from numpy.typing import NDArray

from schema.codecs.tiling import Tiling
from schema.parameters import Parameters
from worker.compute import scoring
from worker.embedding.model.graphs import Interactions, SolverGraph
from worker.embedding.model.scale import Ranges
from worker.embedding.search.find import find_embedding
from worker.emulator.qpu.presets import CHIPS
from worker.emulator.qpu.sampling import Sampling
from worker.emulator.qpu.solver import EmulatedSolver
from worker.emulator.service.store import AcceptedProblem, Status
from worker.emulator.service.submission import Checked, check
from worker.network.trained import TrainedNetwork
from worker.sapi.program import ChipProgram, encode_program

_ANALOG = (
    "h_persistent", "h_drift", "h_random", "j_persistent", "j_random", "h_slope", "h_dac", "j_dac",
    "h_from_j", "flip",
)  # fmt: skip


def chip_with(times: float = 1.0, name: str = "advantage-system6") -> EmulatedSolver:
    """The chip ``name`` with ``times`` its published errors."""
    model = CHIPS[name]
    errors = replace(model.errors, **{each: times * getattr(model.errors, each) for each in _ANALOG})
    return EmulatedSolver.make(name, replace(model, errors=errors), 0)


def graph_of(solver: EmulatedSolver) -> SolverGraph:
    return SolverGraph.from_properties("chip", solver.name, solver.properties)


def tiling_for(network: TrainedNetwork, parameters: Parameters, solver: EmulatedSolver) -> Tiling:
    model = network.model(parameters.visible, parameters.lam)
    return find_embedding(Interactions.of(model), graph_of(solver), tiles=parameters.tiles).tiling


@dataclass(frozen=True, eq=False)
class ImageReads:
    """R reads of B images: class bits packed along the classes, and energies by Q."""

    bits: NDArray[np.uint8]  # (B, R, bytes)
    energies: NDArray[np.float32]  # (B, R)


@dataclass(frozen=True, eq=False)
class ChipSampler:
    """A network on a chip."""

    network: TrainedNetwork
    parameters: Parameters
    solver: EmulatedSolver
    tiling: Tiling

    @property
    def tiles(self) -> int:
        return self.tiling.tiles

    @cached_property
    def program(self) -> ChipProgram:
        model = self.network.model(self.parameters.visible, self.parameters.lam)
        ranges = Ranges.from_properties(self.solver.properties)
        alpha = self.network.architecture.alpha
        return encode_program(model, alpha, graph_of(self.solver), self.tiling, ranges, self.parameters)

    def times_us(self) -> tuple[float, float]:
        """QPU time of a full problem apart from its reads, and of one read."""
        linear = np.zeros((self.tiles, self.program.model.units))
        one = self._check(self.program, linear, 1).timing
        return one.programming, one.sampling

    def sample(
        self, images: NDArray[np.uint8], reads: int, *, first_tile: int = 0, seed: int = 0, number: int = 0
    ) -> ImageReads:
        """Sample ``images`` in full problems, the last one as full as they are, each with ``reads`` reads.

        Args:
            first_tile: of the first image of each problem.
            seed: of the reads, and of errors that each problem has by itself.
            number: of the first problem among those of the chip, for the drift.
        """
        parts = [
            self._sample_one(images[start : start + self.tiles], reads, first_tile, seed, number + k)
            for k, start in enumerate(range(0, len(images), self.tiles))
        ]
        return ImageReads(
            np.concatenate([part.bits for part in parts]), np.concatenate([part.energies for part in parts])
        )

    def _sample_one(
        self, images: NDArray[np.uint8], reads: int, first_tile: int, seed: int, number: int
    ) -> ImageReads:
        program = self.program.on_tiles(first_tile, len(images))
        linear = program.model.linear(self.network.features(images))
        checked = self._check(program, linear, reads)
        access_us = checked.timing.access
        entry = AcceptedProblem(
            number, "", "", self.solver.name, "", "ising", None, Status.COMPLETED, "", None, None, reads, 0,
            access_us, access_us,
        )  # fmt: skip
        answer = orjson.loads(checked.answer(Sampling(seed=seed), entry, lambda: False, count_raw=False))
        packed = np.frombuffer(base64.b64decode(answer["solutions"]), np.uint8).reshape(reads, -1)
        parameters = replace(self.parameters, reads=reads)
        found = scoring.unembed_reads(program.model, linear, parameters, packed, program.placement.tiling)
        return ImageReads(np.packbits(found.class_bits, axis=2), found.energies.astype(np.float32))

    def _check(self, program: ChipProgram, linear: NDArray[np.float64], reads: int) -> Checked:
        bias = self.solver.model.errors.h_from_j
        data = {"format": "qp", "lin": program.encode_linear(linear, bias), "quad": program.quad, "offset": 0}
        params = {"num_reads": reads, "answer_mode": "raw", "auto_scale": False}
        return check(self.solver, "ising", data, params)
