"""A twin of a chip: fitted to the reads of a run, and then sampled on as if it were the chip."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from producer.networks.chosen import ChosenNetwork
from producer.runs.enqueue import RunOptions, enqueue_run
from schema.database import Database
from schema.errors import InputError
from schema.parameters import Gauge, Parameters, Solver
from tests.emulators import TOKEN, Emulator
from tests.integration.conftest import Cli, Outbox, some_images
from tests.integration.remote.test_misprogrammed import IMAGES, PARAMETERS, TILES, a_context, classify
from worker.emulator.qpu import imperfections, presets, twin
from worker.emulator.qpu.solver import EmulatedSolver

CHIP = "tiny=pegasus:6:6:10"
ERRORS = "h_persistent=0.05,flip=0.0005"


def test_a_twin_has_the_errors_of_the_chip_and_takes_its_problems(
    database: Database, outbox: Outbox, working: ChosenNetwork, cli: Cli, tmp_path: Path
) -> None:
    with Emulator(f"--solver={CHIP}", f"--token={TOKEN}", f"--errors={ERRORS}") as emulator:
        context = a_context(database, outbox, emulator)
        first = classify(context, working, gauge=Gauge.UNIT)
        context.solvers.disconnect(Solver.EMULATOR, PARAMETERS)
    path = tmp_path / "twin.npz"
    found = json.loads(cli("embeddings", "twin", 1, "--output", path, "--json"))
    assert (found["name"], found["problems"]) == ("tiny", IMAGES // TILES)
    # All units of this network are coupled, and so each wrong reading makes others look wrong, too.
    assert 0.0002 < found["errors"]["flip"] < 0.003
    model = presets.models([CHIP], [])["tiny"]
    chip = EmulatedSolver.make("tiny", replace(model, errors=imperfections.parse(ERRORS, model.errors)), 0)
    known = twin.load(path).model.known
    assert known is not None
    in_chains = np.isfinite(known.h)
    # A chain has one field error, the sum of those of its qubits.
    estimates, chain = np.unique(known.h[in_chains], return_inverse=True)
    means = np.bincount(chain, chip.imperfections.persistent_h[in_chains]) / np.bincount(chain)
    assert np.corrcoef(estimates, means)[0, 1] > 0.7
    with Emulator(f"--twin={path}", f"--token={TOKEN}") as rehearsal:
        context = a_context(database, outbox, rehearsal)
        second = classify(context, working, gauge=Gauge.UNIT)
        context.solvers.disconnect(Solver.EMULATOR, PARAMETERS)
    assert second["embedding_misses"] == 0  # the twin has the chip's graph
    assert second["chip"]["inverse_temperature"]["median"] == pytest.approx(
        first["chip"]["inverse_temperature"]["median"], rel=0.12
    )


def test_a_run_that_no_chip_sampled_has_no_twin(
    database: Database, working: ChosenNetwork, cli: Cli, tmp_path: Path
) -> None:
    enqueue_run(database, some_images(5), working, Solver.LOCAL, Parameters(reads=10), RunOptions())
    path = tmp_path / "twin.npz"
    for arguments, words in (
        ((1, "--output", path), "0 problems with reads on a chip"),
        ((9, "--output", path), "run 9 does not exist"),
        ((1, "--output", tmp_path / "twin.json"), "use that suffix"),
    ):
        with pytest.raises(InputError, match=words):
            cli("embeddings", "twin", *arguments)
    assert [*tmp_path.glob("*.npz"), *tmp_path.glob("*.json"), *tmp_path.glob("*.part")] == []
