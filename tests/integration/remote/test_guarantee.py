"""Sets of classes on an emulated chip whose temperature or errors change after its calibration."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from producer.calibration.enqueue import enqueue_calibration
from producer.calibration.grid import ParameterGrid
from producer.dashboard.report import run_report
from producer.images.imageset import ImageSet
from producer.images.source import read_images
from producer.networks.choose import get_or_install_network
from producer.reports.run import run_text
from producer.runs.enqueue import RunOptions, enqueue_run
from producer.runs.summary import run_object
from schema.database import Database
from schema.messages import Message, Task
from schema.parameters import Parameters, Solver, Visible
from schema.settings import load as load_settings
from schema.settings.worker import WorkerSettings
from schema.tables import Calibration
from tests.emulators import TOKEN, Emulator
from tests.integration.conftest import Cli, Outbox, work_off
from worker.context import Context

IMAGES = 60
CONFIDENCE = 0.9
LEAST = CONFIDENCE - 3 * (0.09 * 2 / IMAGES) ** 0.5  # coverage, with three standard errors of both halves
GRID = ParameterGrid.embedded(
    reads=20, qpu="tiny", visibles=(Visible.SAMPLED,), chain_strengths=(1.0,), scales=(1.0,)
)
USUAL = "h_persistent=0.015,h_drift=0.009,h_random=0.005,j_persistent=0.01,j_random=0.003"
DOUBLED = "h_persistent=0.03,h_drift=0.018,h_random=0.01,j_persistent=0.02,j_random=0.006"


def chip(errors: str) -> Emulator:
    """A chip with the same working graph, whatever its errors are."""
    return Emulator("--solver=tiny=pegasus:6:6:10", f"--token={TOKEN}", f"--errors={errors}", "--sweeps=8")


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with chip(USUAL) as emulator:
        yield emulator


@pytest.fixture
def context(database: Database, outbox: Outbox, emulator: Emulator) -> Iterator[Context]:
    context = Context(database, WorkerSettings(max_attempts=1, in_flight=8), outbox)
    connect(context, emulator)
    yield context
    context.solvers.disconnect(Solver.EMULATOR, Parameters(qpu="tiny"))


def connect(context: Context, emulator: Emulator) -> None:
    context.solvers.disconnect(Solver.EMULATOR, Parameters(qpu="tiny"))
    context.solvers.shared = load_settings(emulator_url=emulator.endpoint, emulator_token=TOKEN)


@pytest.fixture
def digits() -> tuple[ImageSet, ImageSet]:
    """Images to calibrate with, and others."""
    every = read_images("digits")
    return _part(every, slice(0, IMAGES)), _part(every, slice(IMAGES, 2 * IMAGES))


def _part(every: ImageSet, which: slice) -> ImageSet:
    assert every.labels is not None
    return replace(every, images=every.images[which], labels=every.labels[which])


@pytest.fixture
def classify(context: Context, digits: tuple[ImageSet, ImageSet]) -> Callable[[], dict[str, Any]]:
    """Calibrate now; later calls classify other images on the chip as it is then."""
    database, (validation, images) = context.database, digits
    network = get_or_install_network(database, validation, "digits")
    made = enqueue_calibration(database, validation, network, Solver.EMULATOR, GRID, None).id
    work_off(context, Message(Task.PLAN_CALIBRATION, made))
    with database.reading() as session:
        row = session.get_one(Calibration, made)
        assert row.parameters is not None, row.error
        parameters = Parameters.from_dict({**row.parameters, "confidence": CONFIDENCE})

    def classify() -> dict[str, Any]:
        options = RunOptions(calibrated_by=made, batch_size=IMAGES)
        run = enqueue_run(database, images, network, Solver.EMULATOR, parameters, options).id
        work_off(context, Message(Task.DISPATCH))
        with database.reading() as session:
            return run_object(session, run)

    return classify


def shown(database: Database, run: int) -> dict[str, str]:
    """What a person reads about a run: on the terminal, and in its report."""
    console = Console(file=io.StringIO(), width=200)
    with database.reading() as session:
        console.print(run_text(session, run))
        assert isinstance(console.file, io.StringIO)
        return {
            "show": console.file.getvalue(),
            "report": run_report.markdown(session, run),
            "page": run_report.html(session, run),
        }


@pytest.mark.slow
def test_a_chip_that_has_changed_since_its_calibration_voids_the_guarantee_or_it_is_met(
    context: Context,
    classify: Callable[[], dict[str, Any]],
    emulator: Emulator,
    cli: Cli,
    tmp_path: Path,
) -> None:
    usual = classify()
    guarantee = usual["statistics"]["guarantee"]
    assert guarantee["voided"] is None
    assert guarantee["noise"].keys() == {"calibrated", "run"}
    assert guarantee["coverage"] >= LEAST
    assert "nothing speaks against it" in shown(context.database, usual["run_id"])["show"]

    emulator.break_down(temperature=2.0)
    warm = classify()
    why = warm["statistics"]["guarantee"]["voided"]
    assert why.startswith("the chip has changed: inverse temperature ")
    assert ", calibrated with " in why
    for place, text in shown(context.database, warm["run_id"]).items():
        assert why in text.replace("\n", " "), place
    for kind in ("csv", "json"):
        path = tmp_path / f"warm.{kind}"
        cli("runs", "export", warm["run_id"], "--output", path)
        assert path.read_text().count(why) == IMAGES
    cli("runs", "export", usual["run_id"], "--output", path)
    assert {row["guarantee_void"] for row in json.loads(path.read_text())} == {None}

    with chip(DOUBLED) as worse:
        connect(context, worse)
        noisy = classify()["statistics"]["guarantee"]
    assert noisy["voided"] is not None or noisy["coverage"] >= LEAST
