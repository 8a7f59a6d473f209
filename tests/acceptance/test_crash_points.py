"""Kills a process with SIGKILL at every named crash point: nothing is lost, and nothing is paid for twice.

docs/reliability.md says what a restart finds after each.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from producer.calibration.enqueue import enqueue_calibration
from producer.calibration.grid import ParameterGrid
from producer.networks.choose import choose_network
from producer.networks.training import enqueue_training
from producer.runs import hints
from producer.runs.queries import classified
from schema.database.crash_points import CrashPoint
from schema.messages import Message, Task
from schema.network.architecture import preset
from schema.parameters import Round, Solver, Visible
from schema.shapes import ImageShape
from schema.states import CalibrationState, NetworkState
from schema.tables import Calibration, Network, Run
from tests import PATIENCE_S
from tests.acceptance.conftest import QUICK, wait_for
from tests.acceptance.night import LEASE_S, PARAMETERS, Night, lasting_emulator, night
from tests.integration.conftest import some_images
from tests.onnx_models import architecture, imported, pictures

IMAGES = 40
# Every image is uncertain by so large a gap: a fifth of them is read again.
IN_ROUNDS = replace(PARAMETERS, rounds=(Round(20, 1_000.0, 0.2),))
# What is committed, and who holds the row: the server decides, not a lock on a file.
ON_A_SERVER = {
    CrashPoint.CLAIMED,
    CrashPoint.SENDING,
    CrashPoint.POSTED,
    CrashPoint.ANSWERED,
    CrashPoint.COUNTING,
    CrashPoint.ROUND_WRITTEN,
    CrashPoint.AGGREGATING,
    CrashPoint.RECONCILED,
}
# These kill whoever reads the images: tests/integration/intake does so.
OF_A_PRODUCER = {CrashPoint.INTAKE_WRITTEN, CrashPoint.INTAKE_GROWN, CrashPoint.INTAKE_ENDED}
OF_WORKERS = [point for point in CrashPoint if point not in OF_A_PRODUCER]
ON_FEATURES = (CrashPoint.FEATURES_CLAIMED, CrashPoint.FEATURES_PART, CrashPoint.FEATURES_STORED)
SHORTER = {
    "ANNEALQ_WORKER_LEASE_S": "1",
    "ANNEALQ_WORKER_SOLVER_TIMEOUT_S": "0.8",
    "ANNEALQ_WORKER_QUARANTINE_S": "1",
}
# Where processes come again and again, a later visit is worse: what went before must stay as it is.
LATER = {CrashPoint.HALF_POSTED: 2, CrashPoint.HALF_KEPT: 2}


def traps(folder: Path, *points: CrashPoint) -> dict[str, str]:
    named = ",".join(f"{point}:{LATER.get(point, 1)}" for point in points)
    return {"ANNEALQ_CRASH_AT": named, "ANNEALQ_CRASH_ONCE": str(folder)}


def crashes(folder: Path) -> dict[str, float]:
    """When a process died at each point, in seconds since the epoch."""
    return {path.name: float(path.read_text().split()[1]) for path in folder.glob("*")}


def train(at: Night, *, hinted: bool = True) -> int:
    """Ask for a network to be trained; returns it. Without a hint, the reconciler has one to send."""
    images = some_images(40, seed=9)
    network = enqueue_training(at.database, preset("digits"), images, transfer="energy", seed=0, epochs=2).id
    if hinted:
        hints.send(at.settings.broker_url, Message(Task.TRAIN_NETWORK, network))
    return network


def train_on_features(at: Night) -> int:
    """Ask for a network to be trained on the features of a backbone; returns it."""
    with at.database.transaction() as session:
        layers = architecture(imported(session))
    network = enqueue_training(at.database, layers, pictures(24), transfer="energy", seed=0, epochs=2).id
    hints.send(at.settings.broker_url, Message(Task.DISPATCH))
    return network


def calibrate(at: Night) -> int:
    """Ask for a calibration of one setting on the emulator; returns it."""
    values: dict[str, Any] = {"visibles": (Visible.FOLDED,), "chain_strengths": (1.0,), "scales": (1.0,)}
    grid = ParameterGrid.embedded(reads=10, qpu="tiny", tiles=2, factors=(1.0,), **values)
    with at.database.reading() as session:
        network = choose_network(session, "digits", ImageShape.image(8, 8))
    images = some_images(10, seed=8)
    made = enqueue_calibration(at.database, images, network, Solver.EMULATOR, grid, 10_000_000).id
    hints.send(at.settings.broker_url, Message(Task.PLAN_CALIBRATION, made))
    return made


def is_calibrated(at: Night, calibration: int) -> bool:
    with at.database.reading() as session:
        row = session.get_one(Calibration, calibration)
        assert row.state is not CalibrationState.FAILED, row.error
        return row.state is CalibrationState.READY


def is_ready(at: Night, network: int) -> bool:
    with at.database.reading() as session:
        state = session.execute(select(Network.state).where(Network.id == network)).scalar_one()
    return state is NetworkState.READY


def finished_at(at: Night, table: type[Network | Run | Calibration], row: int) -> float:
    """When a row came to its end, in seconds since the epoch."""
    with at.database.reading() as session:
        moment = session.execute(select(table.finished_at).where(table.id == row)).scalar_one()
    assert moment is not None
    return moment.timestamp()


def test_a_run_survives_a_crash_at_every_point(database_url: str, tmp_path: Path) -> None:
    # Each takes seconds: on PostgreSQL those where it differs, and all of them in the slow tests.
    points = ON_A_SERVER if database_url.startswith("postgresql") else set(OF_WORKERS)
    folder = tmp_path / "crashes"
    env = {**SHORTER, **traps(folder, *points)}
    with (
        lasting_emulator(tmp_path) as emulator,
        night(tmp_path / "home", database_url, emulator, env=env) as at,
    ):
        run, network, calibration = at.enqueue(IMAGES, parameters=IN_ROUNDS), train(at), calibrate(at)
        on_features = train_on_features(at)
        figures = at.finish(run, seconds=2 * PATIENCE_S)
        wait_for(lambda: is_ready(at, network), "the network to be trained")
        wait_for(lambda: is_ready(at, on_features), "the network on features to be trained")
        wait_for(lambda: is_calibrated(at, calibration), "the calibration to be fitted")
        with at.database.reading() as session:
            assert session.execute(select(func.count()).where(Run.calibrates == calibration)).scalar() == 1
        assert set(crashes(folder)) == points
        at.assert_every_image_once(run)
        at.assert_books_agree()
        assert figures["duplicates"] == 0
        with at.database.reading() as session:
            reads = [row.reads for row in classified(session, run)]
        assert reads.count(PARAMETERS.reads + 20) == IMAGES // 5


@pytest.mark.slow
@pytest.mark.parametrize("point", OF_WORKERS)
def test_a_crash_costs_a_lease_and_little_more(database_url: str, tmp_path: Path, point: CrashPoint) -> None:
    """What a crash costs beyond a lease is told in terms of this run until the crash, on this machine."""
    folder, began = tmp_path / "crashes", time.time()
    with (
        lasting_emulator(tmp_path) as emulator,
        night(tmp_path / "home", database_url, emulator, env=traps(folder, point)) as at,
    ):
        run = at.enqueue(IMAGES // 2, parameters=IN_ROUNDS)
        network = (
            train_on_features(at)
            if point in ON_FEATURES
            else train(at, hinted=point is not CrashPoint.RECONCILED)
        )
        calibration = calibrate(at) if point in (CrashPoint.PLANNING, CrashPoint.PLANNED) else None
        at.finish(run)
        wait_for(lambda: is_ready(at, network), "the network to be trained")
        if calibration is not None:
            wait_for(lambda: is_calibrated(at, calibration), "the calibration to be fitted")
        died = crashes(folder)[point]
        ended = max(finished_at(at, Run, run), finished_at(at, Network, network))
        if calibration is not None:
            ended = max(ended, finished_at(at, Calibration, calibration))
        # A process starts anew and works as before; a hint that was noted and not sent is due again.
        limit_s = max(LEASE_S, float(QUICK["ANNEALQ_WORKER_REHINT_S"])) + 2 * (died - began)
        assert ended - died <= limit_s, f"{ended - died:.1f} s from the crash to the end, of {limit_s:.1f}"
        at.assert_every_image_once(run)
        at.assert_books_agree()
