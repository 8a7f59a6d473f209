"""A solver with qubits behind the annealers' interface, for the suite of contracts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from time import perf_counter

import numpy as np

from schema.parameters import Parameters, QpuChoice
from worker.annealers.base import LogicalSamples
from worker.embedding.model.graphs import Interactions
from worker.embedding.model.unembedding import unembed
from worker.embedding.search import find
from worker.qubo.energy_model import EnergyModel, FloatArray
from worker.qubo.noise import Noise
from worker.sapi import program
from worker.sapi.client import Access
from worker.sapi.events import Answered
from worker.sapi.qpu import SolverConnection

_PATIENCE_S = 120.0


@dataclass(frozen=True)
class RemoteAnnealer:
    """Embeds every model on one tile, and sends one problem for each image."""

    access: Access
    qpu: str | None = None

    @cached_property
    def connection(self) -> SolverConnection:
        return SolverConnection(self.access, QpuChoice.parse(self.qpu))

    @property
    def name(self) -> str:
        return self.connection.name

    def check(self, model: EnergyModel) -> None:
        pass  # the search refuses what does not fit

    def sample(
        self,
        model: EnergyModel,
        linear: FloatArray,
        reads: int,
        seed: int,
        first_image: int = 0,
        noise: Noise | None = None,
    ) -> LogicalSamples:
        assert first_image == 0
        assert noise is None
        started = perf_counter()
        parameters = Parameters(reads=reads, seed=seed)
        found = find.find_embedding(Interactions.of(model), self.connection.graph, tiles=1, seed=seed)
        reach = float(np.abs(linear).max(initial=1.0))
        made = program.encode_program(
            model, reach, self.connection.graph, found.tiling, self.connection.ranges, parameters
        )
        for image, row in enumerate(linear):
            self.connection.submit(
                image, f"contract {image}", made.encode_linear(row[np.newaxis]), made.quad, parameters
            )
        bits = np.empty((len(linear), reads, model.units), dtype=np.uint8)
        waiting = set(range(len(linear)))
        while waiting:
            event = self.connection.next_event(_PATIENCE_S)
            assert event is not None, "the solver does not answer"
            if isinstance(event, Answered):
                bits[event.key] = unembed(event.answer.packed, found.tiling).bits[0]
                waiting.remove(event.key)
            else:
                assert not hasattr(event, "error"), event
        return LogicalSamples(bits, model.energies(linear, bits), perf_counter() - started)
