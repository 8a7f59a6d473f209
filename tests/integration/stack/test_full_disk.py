"""A full disk gives a clear error and no partial writes, and work continues once there is space."""

from __future__ import annotations

import io
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import func, insert, select

import migrations
from producer.networks.chosen import ChosenNetwork
from producer.progress.stages import waits_of
from producer.runs.enqueue import enqueue_run
from producer.stack.disk import Disk
from producer.stack.process import Child
from producer.stack.supervisor import RestartPolicy, Supervisor
from schema.database import Database
from schema.errors import DatabaseFull, StackError
from schema.network.architecture import preset
from schema.parameters import Parameters, Solver
from schema.tables import Batch, Network, Run
from tests import PATIENCE_S
from tests.conftest import annealq_process
from tests.integration.conftest import network_row, some_images
from tests.serving import client, serving


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
        done = annealq_process("up", env={"ANNEALQ_HOME": str(home)})
        assert done.returncode == 1
        assert len(done.stderr.splitlines()) == 1
        assert str(home) in done.stderr
        assert "set ANNEALQ_HOME to" in done.stderr
        with suppress(OSError):
            (small_disk / "filler").write_bytes(bytes(3_000_000))


def test_a_full_disk_leaves_nothing_behind(small_disk: Path) -> None:
    url = f"sqlite:///{small_disk / 'annealq.db'}"
    migrations.upgrade(url)
    database = Database(url)
    with database.transaction() as session:
        network = session.execute(insert(Network).values(network_row()).returning(Network.id)).scalar_one()
    chosen = ChosenNetwork(network, "digits", preset("digits").input, tuple("0123456789"))

    with pytest.raises(DatabaseFull, match=r"no space left for sqlite.*free some"):
        enqueue_run(database, some_images(60_000), chosen, Solver.LOCAL, Parameters())
    with database.reading() as session:
        for table in (Run, Batch):
            assert session.execute(select(func.count()).select_from(table)).scalar_one() == 0

    run = enqueue_run(database, some_images(100), chosen, Solver.LOCAL, Parameters())
    assert run.created
    database.dispose()


def test_a_full_temporary_folder_is_named_over_http_and_on_pages(
    small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path / 'annealq.db'}"
    migrations.upgrade(url)
    database = Database(url)
    with database.transaction() as session:
        network = session.execute(insert(Network).values(network_row()).returning(Network.id)).scalar_one()
    chosen = ChosenNetwork(network, "digits", preset("digits").input, tuple("0123456789"))
    run = enqueue_run(database, some_images(10), chosen, Solver.LOCAL, Parameters()).id
    database.dispose()
    monkeypatch.setattr("tempfile.tempdir", str(small_disk))
    array = io.BytesIO()
    np.save(array, np.zeros((40_000, 8, 8), np.uint8))  # more than a form has in memory
    csv = {"Accept": "text/csv"}
    with serving(url) as address, client(address) as http:
        filler = fill(small_disk)
        answers = [
            http.post("/v1/runs", files={"images": ("a.npy", array.getvalue())}),
            http.get(f"/v1/runs/{run}/results", headers=csv),
            http.get(f"/runs/{run}/results.csv"),
        ]
        for answer in answers:
            assert answer.status_code == 507, answer.text
            assert f"disk full: {small_disk}: free some space there" in answer.text
        assert [answer.json()["code"] for answer in answers[:2]] == ["disk_full"] * 2
        filler.unlink()
        assert http.get(f"/v1/runs/{run}/results", headers=csv).status_code == 200
    assert list(small_disk.iterdir()) == []


def fill(place: Path) -> Path:
    """Fill the file system of ``place`` to its last byte."""
    filler = place / "filler"
    with suppress(OSError), filler.open("wb") as file:
        while True:
            file.write(bytes(4096))
            file.flush()
    return filler


def test_a_run_says_that_the_disk_is_full_until_there_is_space(small_disk: Path) -> None:
    url = f"sqlite:///{small_disk / 'annealq.db'}"
    migrations.upgrade(url)
    database = Database(url)
    with database.transaction() as session:
        network = session.execute(insert(Network).values(network_row()).returning(Network.id)).scalar_one()
    chosen = ChosenNetwork(network, "digits", preset("digits").input, tuple("0123456789"))
    run = enqueue_run(database, some_images(20), chosen, Solver.LOCAL, Parameters()).id
    disk = Disk(small_disk)

    def waits() -> str | None:
        with database.reading() as session:
            return waits_of(session, run, database.now(session))

    assert disk.news() is None
    filler = fill(small_disk)
    full = f"no space left for the database {small_disk / 'annealq.db'}: free some, and the run continues"
    assert waits() == full
    assert news(disk) == f"no space left for the home folder {small_disk}: free some; work waits until then"
    assert news(disk) is None  # it is said once
    filler.unlink()
    assert waits() != full
    assert news(disk) == f"the home folder {small_disk} has space again: work continues"
    database.dispose()


def news(disk: Disk) -> str | None:
    """Look at once, and not only every second."""
    disk.looked_at = float("-inf")
    return disk.news()


def test_children_that_die_on_a_full_disk_do_not_end_a_stack(small_disk: Path, tmp_path: Path) -> None:
    filler, said = fill(small_disk), []
    policy = RestartPolicy(first_delay_s=0.01, longest_delay_s=0.02, deaths=1)
    supervisor = Supervisor(tmp_path, policy, said.append, Disk(small_disk))
    starts = tmp_path / "starts"
    supervisor.start(Child("mayfly", ["/bin/sh", "-c", f"echo >> {starts}; exit 1"]))
    try:
        deadline = time.monotonic() + PATIENCE_S
        while (
            not starts.exists() or len(starts.read_bytes()) < 4
        ):  # one restart is all that the policy allows
            assert time.monotonic() < deadline
            time.sleep(0.01)
        supervisor.check()
        assert said == [f"no space left for the home folder {small_disk}: free some; work waits until then"]
        filler.unlink()
        with pytest.raises(StackError, match="the mayfly died more than 1 times"):
            supervisor.wait()
    finally:
        supervisor.stop()
