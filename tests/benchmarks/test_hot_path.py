"""Classical computation around the annealer, per image, compared with the same work in Ocean.

From feature values to the problem on the wire, and from the answer on the wire to scores; nothing is sent.
`mnist`, visible units sampled, on the ideal P16. The scores must agree. One thread, as in a worker process.
Ours are the 29 problems of a batch, one after another, each with its own reads; a rival takes one image.
The cost of the network's own layers is printed separately for both. A third each of the rest is unembedding
and energies, and a fifth is consensus.
"""

from __future__ import annotations

import base64
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from dwave.embedding import EmbeddedStructure
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from producer.networks import shipped
from schema.network import weights
from schema.parameters import Parameters
from tests.benchmarks.conftest import Record
from tests.benchmarks.rivals import ocean
from tests.chips import chip
from tests.conftest import data_file
from worker.compute import consensus
from worker.embedding.model.graphs import Interactions
from worker.embedding.model.scale import Ranges
from worker.embedding.model.unembedding import unembed
from worker.embedding.search import shipped as search_shipped
from worker.network.trained import TrainedNetwork
from worker.sapi import program as sapi_program
from worker.sapi import wire
from worker.sapi.program import ChipProgram

pytestmark = [pytest.mark.bench, pytest.mark.timeout(900)]

FRACTION = 0.1
ROUNDS = 5
COMPARED = 3  # images that the rivals take
PROBLEMS = 29  # of a batch of 1,000 images, 35 in each

FloatArray = NDArray[np.float64]
Count = Callable[..., FloatArray]


@dataclass(frozen=True)
class Road:
    """One full problem with its images, and what a careful user of Ocean keeps between images."""

    network: TrainedNetwork
    program: ChipProgram
    images: NDArray[np.uint8]
    features: FloatArray
    chip: ocean.Chip
    embeddings: list[dict[int, list[int]]]
    structures: list[EmbeddedStructure]

    def ours(self, answer: dict[str, Any]) -> FloatArray:
        """All images of the problem at once, (k, K) scores."""
        made, model = self.program, self.program.model
        linear = model.linear(self.features)
        made.encode_linear(linear)
        read = wire.decode_answer(answer["answer"])
        out = unembed(read.packed, made.placement.tiling)
        energies = model.energies(linear, out.bits)
        scored = consensus.score(out.bits[:, :, model.class_units], energies, fraction=FRACTION)
        return scored.scores

    def rival(self, count: Count, k: int, answer: dict[str, Any]) -> FloatArray:
        """Image k alone, (K,) scores."""
        model = self.program.model
        linear = model.linear(self.features[k : k + 1])[0]
        image = ocean.Image.build(
            self.chip, self.structures[k], self.embeddings[k], linear, model.edges, model.couplings
        )
        image.encode(self.program.chain_strength)
        return count(image.decode(answer), list(range(model.units))[model.class_units], FRACTION)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with threadpool_limits(1):
        yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def road() -> Road:
    bundle = shipped.load("mnist")
    architecture = bundle.description.architecture
    network = TrainedNetwork(architecture, weights.decode(bundle.data, architecture), "energy")
    model, graph = network.model("sampled", None), chip("pegasus", 16)
    tiling = search_shipped.load_shipped(Interactions.of(model), graph)
    assert tiling is not None
    ranges = Ranges(h=(-4.0, 4.0), J=(-2.0, 1.0), J_at_qubit=(-18.0, 15.0))
    made = sapi_program.encode_program(model, architecture.alpha, graph, tiling, ranges, Parameters())
    with np.load(data_file("mnist_small.npz")) as file:
        images = next(file[name] for name in file.files if file[name].ndim == 3)[: tiling.tiles]
    embeddings = [
        {unit: tiling.chain(k, unit).tolist() for unit in range(model.units)} for k in range(COMPARED)
    ]
    couplers = graph.couplers.tolist()
    structures = [EmbeddedStructure(couplers, embedding) for embedding in embeddings]
    whole = ocean.Chip(graph.qubits.tolist(), [(a, b) for a, b in couplers])
    return Road(network, made, images, network.features(images), whole, embeddings, structures)


def message(bits: NDArray[np.uint8], qubits: NDArray[np.integer], chip_qubits: int) -> dict[str, Any]:
    """An answer with these reads (R, A) of these qubits, rising, as the wire has it."""
    parts = {
        "energies": np.zeros(len(bits)),
        "active_variables": qubits.astype("<i4"),
        "solutions": np.packbits(bits, axis=1),
    }
    encoded = {name: base64.b64encode(array.tobytes()).decode() for name, array in parts.items()}
    return {
        "type": "ising",
        "answer": {"format": "qp", "num_variables": chip_qubits, "timing": {}, **encoded},
    }


def seconds(function: Callable[[], object]) -> float:
    """Of processor time, all threads: other processes do not count."""
    start = time.process_time()
    function()
    return time.process_time() - start


def test_features(record: Record, road: Road) -> None:
    whole, alone = [], []
    for _ in range(ROUNDS * 2):
        whole.append(seconds(lambda: road.network.features(road.images)) / len(road.images))
        alone.append(seconds(lambda: road.network.features(road.images[:1])))
    ours, rival = (1e3 * statistics.median(times) for times in (whole, alone))
    record("features of an image, of a batch (alone)", ours, "ms", at_least=False, rival=rival)


@pytest.mark.parametrize(("reads", "goal_ms"), [(1000, 0.15), (100, 0.03)])
def test_classical_side(record: Record, road: Road, reads: int, goal_ms: float) -> None:
    qubits = np.sort(road.program.placement.tiling.qubits)
    random = np.random.default_rng(0)
    drawn = [random.integers(0, 2, (reads, len(qubits)), dtype=np.uint8) for _ in range(PROBLEMS)]
    size = int(road.program.placement.graph.qubits.max()) + 1
    answers = [message(bits, qubits, size) for bits in drawn]
    bits, alone = drawn[0], []
    for k in range(COMPARED):
        mine = np.sort([q for chain in road.embeddings[k].values() for q in chain])
        alone.append(message(bits[:, np.searchsorted(qubits, mine)], mine, size))
    scores = road.ours(answers[0])
    for k in range(COMPARED):
        for count in (ocean.count_by_loop, ocean.count_by_argsort):
            np.testing.assert_allclose(road.rival(count, k, alone[k]), scores[k], atol=1e-9)
    ours, argsort, loop = [], [], []
    for turn in range(ROUNDS * 2):
        k = turn % COMPARED
        ours.append(seconds(lambda: [road.ours(each) for each in answers]) / PROBLEMS / len(road.images))
        argsort.append(seconds(partial(road.rival, ocean.count_by_argsort, k, alone[k])))
        loop.append(seconds(partial(road.rival, ocean.count_by_loop, k, alone[k])))
    mine_ms = 1e3 * statistics.median(ours)
    for name, theirs, least in (("argsort", argsort, 20), ("loop", loop, 100)):
        theirs_ms = 1e3 * statistics.median(theirs)
        what = f"classical side of an image, {reads} reads, Ocean by {name} (goal {least} x)"
        record(what, mine_ms, "ms", goal_ms, at_least=False, rival=theirs_ms)
