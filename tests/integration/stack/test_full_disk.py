"""A full disk gives a clear error and no partial writes, and work continues once there is space."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import func, insert, select

import migrations
from producer.networks.chosen import ChosenNetwork
from producer.runs.enqueue import enqueue_run
from schema.database import Database
from schema.errors import DatabaseFull
from schema.parameters import Parameters, Solver
from schema.tables import Batch, Network, Run
from tests.conftest import annealq
from tests.integration.conftest import network_row, some_images


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB."""
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("a small file system can only be mounted by root")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_stack_on_a_full_disk_is_refused_in_one_line(small_disk: Path) -> None:
    for home in (small_disk, small_disk / "full"):
        started = time.monotonic()
        done = annealq("up", env={"ANNEALQ_HOME": str(home)})
        took_s = time.monotonic() - started
        assert done.returncode == 1
        assert len(done.stderr.splitlines()) == 1
        assert str(home) in done.stderr
        assert "set ANNEALQ_HOME to" in done.stderr
        assert took_s < annealq_start_s() + 3
        with suppress(OSError):
            (small_disk / "filler").write_bytes(bytes(3_000_000))


def annealq_start_s() -> float:
    """How long the command line takes on this machine to do nothing."""
    started = time.monotonic()
    annealq("--version")
    return time.monotonic() - started


def test_a_full_disk_leaves_nothing_behind(small_disk: Path) -> None:
    url = f"sqlite:///{small_disk / 'annealq.db'}"
    migrations.upgrade(url)
    database = Database(url)
    with database.transaction() as session:
        network = session.execute(insert(Network).values(network_row()).returning(Network.id)).scalar_one()
    chosen = ChosenNetwork(network, "digits", 8, 8, 16, tuple("0123456789"))

    with pytest.raises(DatabaseFull, match=r"no space left for sqlite.*free some"):
        enqueue_run(database, some_images(60_000), chosen, Solver.LOCAL, Parameters())
    with database.reading() as session:
        for table in (Run, Batch):
            assert session.execute(select(func.count()).select_from(table)).scalar_one() == 0

    run = enqueue_run(database, some_images(100), chosen, Solver.LOCAL, Parameters())
    assert run.created
    database.dispose()
