"""Figures of solvers with qubits.

Cost of a problem on a whole chip, one core: encoding its biases 0.04 ms (13 ms by the client, from dicts),
its couplings once per model; unembedding 0.004 ms (10 units) to 0.4 ms (358) per image of 1000 reads. QPU
time is charged per problem: programming about 15 ms, and 0.2 ms per read on a full Pegasus chip, however
many images the problem carries.
"""

from __future__ import annotations

import json
import statistics
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dimod
import dwave.embedding
import numpy as np
import orjson
import pytest
from dwave.cloud.coders import encode_problem_as_qp
from requests import PreparedRequest

from producer.networks import shipped
from schema.network import weights
from schema.parameters import Parameters
from tests.benchmarks.conftest import Record
from tests.chips import chip
from tests.conftest import annealq_process, data_file
from worker.embedding.model.graphs import Interactions, SolverGraph
from worker.embedding.model.scale import Ranges
from worker.embedding.model.unembedding import unembed
from worker.embedding.search import find
from worker.emulator.qpu.presets import SOLVERS
from worker.emulator.qpu.solver import EmulatedSolver
from worker.network.trained import TrainedNetwork
from worker.qubo.energy_model import Visible
from worker.qubo.ising import spin_form
from worker.sapi import program
from worker.sapi.client import deflate
from worker.sapi.program import ChipProgram

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1800)]

READS = 1000
RANGES = Ranges(h=(-4.0, 4.0), J=(-2.0, 1.0), J_at_qubit=(-18.0, 15.0))  # of an Advantage


def median_ms(function: Callable[[], object], times: int = 9) -> float:
    def once() -> float:
        start = time.perf_counter()
        function()
        return time.perf_counter() - start

    return 1e3 * statistics.median(once() for _ in range(times))


def trained(name: str) -> TrainedNetwork:
    bundle = shipped.load(name)
    architecture = bundle.description.architecture
    return TrainedNetwork(architecture, weights.decode(bundle.data, architecture), "energy")


def on_ideal_chip(name: str, visible: Visible) -> ChipProgram:
    """A shipped network on as many tiles as the ideal P16 takes."""
    network, graph = trained(name), chip("pegasus", 16)
    model = network.model(visible, None)
    tiling = find.find_embedding(Interactions.of(model), graph).tiling
    return program.encode_program(model, network.architecture.alpha, graph, tiling, RANGES, Parameters())


@pytest.fixture(scope="module")
def network() -> TrainedNetwork:
    return trained("mnist")


@pytest.fixture(scope="module")
def full_chip(network: TrainedNetwork) -> ChipProgram:
    """`mnist` folded, on as many tiles as the default chip of the emulator takes."""
    made = EmulatedSolver.make("emulator-pegasus", SOLVERS["emulator-pegasus"], 0)
    graph = SolverGraph.from_properties("chip", "chip", made.properties)
    model = network.model("folded", None)
    tiling = find.find_embedding(Interactions.of(model), graph).tiling
    ranges = Ranges.from_properties(made.properties)
    return program.encode_program(model, network.architecture.alpha, graph, tiling, ranges, Parameters())


def test_encoding(record: Record, network: TrainedNetwork, full_chip: ChipProgram) -> None:
    tiles, model, placement = full_chip.tiles, full_chip.model, full_chip.placement
    images = np.random.default_rng(0).integers(0, 256, (tiles, 28, 28), dtype=np.uint8)
    linear = model.linear(network.features(images))
    graph = placement.graph
    biases = np.nan_to_num(placement.linear(spin_form(linear, model.edges, model.couplings).h))
    in_use = set(placement.active.tolist())
    h = {q: b for q, b in zip(graph.qubits.tolist(), biases.tolist(), strict=True) if q in in_use}
    wired = [tuple(pair) for pair in graph.couplers.tolist() if set(pair) <= in_use]
    values = placement.quadratic(model.couplings / 4.0, full_chip.chain_strength)
    J = dict(zip(wired, values.tolist(), strict=True))
    solver = SimpleNamespace(
        _encoding_qubits=graph.qubits.tolist(), _encoding_couplers=[tuple(p) for p in graph.couplers.tolist()]
    )
    theirs = median_ms(lambda: encode_problem_as_qp(solver, h, J))
    ours = median_ms(lambda: full_chip.encode_linear(linear), times=99)
    record("encode one full-chip problem", ours, "ms", 0.1, at_least=False, rival=theirs)


def test_deflating(record: Record, network: TrainedNetwork, full_chip: ChipProgram) -> None:
    """A problem for a distant server: 0.3 ms, by the client's zlib 16 ms, of 475 kB for 330 images."""
    images = np.random.default_rng(0).integers(0, 256, (full_chip.tiles, 28, 28), dtype=np.uint8)
    lin = full_chip.encode_linear(full_chip.model.linear(network.features(images)))
    body = orjson.dumps([{"data": {"lin": lin, "quad": full_chip.quad}}])

    def deflated() -> PreparedRequest:
        request = PreparedRequest()
        request.prepare(method="POST", url="http://localhost/problems/", data=body)
        return deflate(request)

    theirs, ours = median_ms(lambda: zlib.compress(body)), median_ms(deflated, times=99)
    assert zlib.decompress(deflated().body) == body  # type: ignore[arg-type]
    record("deflate one full-chip problem", ours, "ms", 2.0, at_least=False, rival=theirs)


@pytest.mark.parametrize(
    ("name", "visible", "biases_us", "unembedding_us"),
    [("mnist", "folded", 0.5, None), ("mnist", "sampled", 0.5, 35.0), ("conv358", "sampled", 3.0, 550.0)],
    ids=["K10", "mnist", "conv358"],
)
def test_biases_and_unembedding(
    record: Record, name: str, visible: Visible, biases_us: float, unembedding_us: float | None
) -> None:
    made = on_ideal_chip(name, visible)
    tiling, model, placement = made.placement.tiling, made.model, made.placement
    what = f"{name} {visible}, {model.units} units"
    spin = spin_form(
        np.random.default_rng(0).normal(size=(made.tiles, model.units)), model.edges, model.couplings
    )
    chains = {unit: tiling.chain(0, unit).tolist() for unit in range(model.units)}
    structure = dwave.embedding.EmbeddedStructure(placement.graph.couplers.tolist(), chains)
    bqm = dimod.BinaryQuadraticModel.from_ising(
        dict(enumerate(spin.h[0])), dict(zip(map(tuple, model.edges.tolist()), spin.J, strict=True))
    )
    theirs = median_ms(lambda: structure.embed_bqm(bqm, chain_strength=1.0))
    ours = median_ms(lambda: placement.linear(spin.h), times=99) / made.tiles
    record(f"physical biases, {what}", 1e3 * ours, "us", biases_us, at_least=False, rival=1e3 * theirs)

    reads = np.random.default_rng(0).integers(0, 2, (READS, len(tiling.qubits)), dtype=np.uint8)
    packed, columns = np.packbits(reads, axis=1), np.sort(tiling.qubits)
    places = [np.searchsorted(columns, chain).tolist() for chain in chains.values()]
    samples = 2 * reads.astype(np.int8) - 1
    theirs = median_ms(lambda: dwave.embedding.majority_vote(samples, places))
    ours = median_ms(lambda: unembed(packed, tiling)) / made.tiles
    record(
        f"unembed {READS} reads, {what}",
        1e3 * ours,
        "us",
        unembedding_us,
        rival=1e3 * theirs,
        at_least=False,
    )


def run(*arguments: str, env: dict[str, str]) -> dict[str, Any]:
    done = annealq_process(*arguments, "--json", env=env, timeout=1500)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize(("visible", "goal_us"), [("folded", 100.0), ("sampled", 700.0)])
def test_charges(record: Record, tmp_path: Path, visible: str, goal_us: float) -> None:
    """QPU time an image at the fewest reads whose accuracy is within 0.2 points of 1000 reads.

    Counted by rescoring; then a run of its own is made with so many reads, and what it was charged is told.
    """
    env = {"ANNEALQ_HOME": str(tmp_path / "home")}
    test = str(data_file("mnist_test.npz"))
    command = (
        "classify",
        test,
        "--limit",
        "1000",
        "--solver",
        "emulator",
        "--visible",
        visible,
        "--embedded",
    )
    most = run(*command, "--reads", str(READS), env=env)
    chosen = READS
    for reads in (500, 200, 100, 50, 25, 10):
        again = run("runs", "rescore", str(most["run_id"]), "--reads", str(reads), "--embedded", env=env)
        # One image more or less is 0.1 points: a miss by chance says nothing of fewer reads.
        chosen = reads if again["accuracy"] >= most["accuracy"] - 0.002 else chosen
    charged = run(*command, "--reads", str(chosen), env=env)
    name = f"mnist {visible}, emulated P16 with errors"
    record(f"{name}, 1000 reads, 1,000 images", 100 * most["accuracy"], "%", 98)
    record(f"{name}, {chosen} reads", 100 * charged["accuracy"], "%", 100 * most["accuracy"] - 0.2)
    time_us = charged["statistics"]["qpu_access_time_us_per_image"]
    record(f"{name}, {chosen} reads, charged an image", time_us, "us", goal_us, at_least=False)
