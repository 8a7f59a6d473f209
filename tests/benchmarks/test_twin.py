"""How well a twin is the chip: its hidden errors, its bad tiles, and the accuracy of the next run.

A night of `mnist` with sampled visible units, 100 reads, gauges of whole tiles, on the emulated
`advantage-system6` with all errors. Reading and fitting take 0.07 s of processor time for a problem of 35
images, sampling one 0.27 s. Field errors are compared chain by chain, since a chain feels the sum over its
qubits; "known" are chains whose reads explain over half of the variance.
"""

from __future__ import annotations

import base64
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import orjson
import pytest
from numpy.typing import NDArray

from schema.codecs import chip_graphs
from schema.parameters import Parameters, Visible
from schema.tables import Chip
from tests.benchmarks.chip_reads import ChipSampler, chip_with, graph_of, tiling_for
from tests.benchmarks.conftest import Record
from tests.benchmarks.test_qpu import trained
from tests.conftest import data_file
from worker.compute import consensus
from worker.compute.twin.fit import fit_chip_errors
from worker.compute.twin.night import NightProblem
from worker.embedding.model.gauges import reverse_back
from worker.embedding.model.unembedding import unembed
from worker.emulator.qpu import twin as emulated
from worker.emulator.qpu.sampling import Sampling
from worker.emulator.qpu.solver import EmulatedSolver
from worker.emulator.service.store import AcceptedProblem, Status
from worker.emulator.service.submission import check
from worker.remote.measuring import sent_problem
from worker.tools.chips import twin
from worker.tools.chips.stored_problems import ProblemOnChip

pytestmark = [pytest.mark.bench, pytest.mark.slow, pytest.mark.timeout(7200)]

PARAMETERS = Parameters(visible=Visible.SAMPLED, reads=100)
NIGHT, RUN, BAD_NIGHT = 1700, 286, 300  # problems
ABOVE = 0.01  # field errors that are compared, in units of h


@dataclass(frozen=True, eq=False)
class Sampled:
    """A problem of a night, and the class of each of its images."""

    problem: ProblemOnChip
    classes: NDArray[np.int16]


def sample(sampler: ChipSampler, images: NDArray[np.uint8], reads: int, number: int) -> Sampled:
    """Sample one problem as a worker does, with a gauge of whole tiles."""
    program, errors = sampler.program, sampler.solver.model.errors
    linear = program.model.linear(sampler.network.features(images))
    signs = np.random.default_rng(number).choice([-1.0, 1.0], (len(images), 1))
    data = {
        "format": "qp",
        "lin": program.encode_linear(linear, errors.h_from_j, signs),
        "quad": program.quad,
        "offset": 0,
    }
    params = {"num_reads": reads, "answer_mode": "raw", "auto_scale": False}
    checked = check(sampler.solver, "ising", data, params)
    access_us = checked.timing.access
    entry = AcceptedProblem(
        number, "", "", sampler.solver.name, "", "ising", None, Status.COMPLETED, "", None, None, reads, 0,
        access_us, access_us,
    )  # fmt: skip
    answer = orjson.loads(checked.answer(Sampling(seed=1), entry, lambda: False, count_raw=False))
    packed = np.frombuffer(base64.b64decode(answer["solutions"]), np.uint8).reshape(reads, -1)
    units = unembed(reverse_back(packed, sampler.tiling, signs), sampler.tiling)
    sent = sent_problem(program, linear, errors.h_from_j, signs)
    numbers = np.arange(len(images))
    of = (sampler.tiling, program, numbers, units, sent, 0.0, errors.h_from_j, signs)
    found = consensus.score(
        units.bits[..., program.model.class_units], program.model.energies(linear, units.bits)
    )
    return Sampled(ProblemOnChip(1, *of), found.predicted)


def sampler_of(solver: EmulatedSolver) -> ChipSampler:
    network = trained("mnist")
    return ChipSampler(network, PARAMETERS, solver, tiling_for(network, PARAMETERS, solver))


def images_of(sampler: ChipSampler, number: int) -> NDArray[np.intp]:
    return (number * sampler.tiles + np.arange(sampler.tiles)) % 10_000


def night_of(
    sampler: ChipSampler, images: NDArray[np.uint8], problems: int, reads: int = 100
) -> tuple[twin.EmbeddingNight, NDArray[np.int16]]:
    """Return a night of ``problems``, and the classes (P, k) of its images."""
    night, classes = None, []
    for number in range(problems):
        sampled = sample(sampler, images[images_of(sampler, number)], reads, number)
        one = sampled.problem
        night = night or twin.EmbeddingNight(one)
        of = NightProblem.of(one.numbers, one.units.bits, one.sent, one.coupling_bias, one.signs)
        night.problems.append(((number, number), of))
        night.coupling_biases.append(one.coupling_bias)
        classes.append(sampled.classes)
    assert night is not None
    return night, np.array(classes)


def chip_row(solver: EmulatedSolver) -> Chip:
    graph = graph_of(solver)
    return Chip(
        id=1,
        name=solver.name,
        graph_id=solver.chip.graph_id,
        properties=solver.limits,
        graph=chip_graphs.encode(graph.qubits, graph.couplers),
        qubits=len(graph.qubits),
        couplers=len(graph.couplers),
    )


def mnist() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    with np.load(data_file("mnist_test.npz"), allow_pickle=False) as data:
        return data["images"], data["labels"]


def labels_of(sampler: ChipSampler, labels: NDArray[np.int64], problems: int) -> NDArray[np.int64]:
    images = np.array([images_of(sampler, number) for number in range(problems)])
    return np.asarray(labels[images], np.int64)


def test_a_twin_is_the_chip(record: Record, tmp_path: Path) -> None:
    images, labels = mnist()
    sampler = sampler_of(chip_with())
    night, classes = night_of(sampler, images, NIGHT)
    start = time.process_time()
    errors = fit_chip_errors(night.night()).errors
    record(
        "twin: processor time of the fit, a problem of 35 images",
        1e3 * (time.process_time() - start) / NIGHT,
        "ms",
    )
    lengths = sampler.tiling.lengths.reshape(errors.fields.shape)
    chip = sampler.solver
    true = hidden_fields(sampler) / lengths
    large, known = np.abs(true) > ABOVE, errors.reliability > 0.5
    record("twin: share of chains whose field error is known", float(known.mean()), "of all")
    for name, chosen in (
        ("all chains", large),
        ("known chains", large & known),
        ("chains of one qubit", large & (lengths == 1)),
    ):
        found = (errors.fields / lengths)[chosen]
        correlation = float(np.corrcoef(found, true[chosen])[0, 1])
        record(f"twin: field errors above .01, {chosen.sum():,} of {name}", correlation, "correlation", 0.95)
    fitted = twin.fit(chip_row(chip), [night], 0.0, lambda *_: None)
    record("twin: beta, 4.5 on the chip", fitted.about["beta"] / emulated.APPEARS, "")
    record("twin: values read wrongly, .02 % on the chip", 100 * fitted.about["errors"]["flip"], "%")
    twin.write(fitted, tmp_path / "twin.npz")
    loaded = emulated.load(tmp_path / "twin.npz")
    rehearsal = replace(sampler, solver=EmulatedSolver.make(loaded.name, loaded.model, 0))
    _, predicted = night_of(rehearsal, images, RUN)
    right = labels_of(sampler, labels, RUN)
    difference = 100 * abs(float((predicted == right).mean() - (classes[:RUN] == right).mean()))
    record("twin: accuracy of a run of 10,000 against the chip's", difference, "points", 0.3, at_least=False)


def test_bad_tiles_are_those_that_a_twin_names(record: Record) -> None:
    """The errors of h are three times as large on the qubits of every fifth tile.

    The accuracy of a tile says little about it: one half of its images hardly foretells the other.
    """
    images, labels = mnist()
    sampler = sampler_of(chip_with())
    bad = np.arange(sampler.tiles) % 5 == 0
    spoil(sampler, bad, 3.0)
    night, classes = night_of(sampler, images, BAD_NIGHT, reads=60)
    found = fit_chip_errors(night.night()).errors.tile_errors
    hidden = np.sqrt((hidden_fields(sampler) ** 2).mean(axis=1))
    right = classes == labels_of(sampler, labels, BAD_NIGHT)
    one, other = (-half.mean(axis=0) for half in (right[::2], right[1::2]))
    for what, chosen, shown, goal in (
        ("bad tiles by the twin's errors", bad, found, 0.8),
        ("worst fifth by hidden errors, by the twin's", worst(hidden), found, 0.8),
        ("bad tiles by accuracy", bad, one + other, None),
        ("worst fifth by accuracy, by that of other images", worst(one), other, None),
    ):
        above = (shown[chosen][:, np.newaxis] > shown[~chosen]).mean()
        ties = (shown[chosen][:, np.newaxis] == shown[~chosen]).mean()
        record(f"twin: {what}", float(above + ties / 2), "AUC", goal)
    for name, tiles in (("bad", bad), ("other", ~bad)):
        record(f"twin: accuracy of {name} tiles", 100 * right[:, tiles].mean(), "%")


def spoil(sampler: ChipSampler, bad: NDArray[np.bool_], times: float) -> None:
    """Multiply the persistent errors of h of the qubits of the tiles ``bad`` (k,)."""
    chip, tiling = sampler.solver, sampler.tiling
    starts = tiling.starts[:-1].reshape(sampler.tiles, -1)[:, 0]
    tile = np.repeat(np.arange(sampler.tiles), np.diff(np.append(starts, len(tiling.qubits))))
    errors = chip.imperfections.persistent_h.copy()
    errors[np.searchsorted(chip.chip.qubits, tiling.qubits[bad[tile]])] *= times
    object.__setattr__(chip.imperfections, "persistent_h", errors)  # frozen, for everyone but a test


def worst(badness: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.asarray(badness >= np.quantile(badness, 0.8))


def hidden_fields(sampler: ChipSampler) -> NDArray[np.float64]:
    """Return the sum of the persistent errors of h of each chain, (k, n)."""
    chip, tiling = sampler.solver, sampler.tiling
    hidden = chip.imperfections.persistent_h[np.searchsorted(chip.chip.qubits, tiling.qubits)]
    return np.add.reduceat(hidden, tiling.starts[:-1]).reshape(sampler.tiles, -1)
