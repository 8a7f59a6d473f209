"""Several machines: database and broker on one, the emulator on another, workers on two; one vanishes."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy import func, insert, select

import migrations
from producer.stack import broker
from producer.stack.stack import worker_command
from schema.database import Database
from schema.errors import BrokerUnavailable, StorageError
from schema.messages import queue_names
from schema.settings import load
from schema.states import BatchState
from schema.tables import Batch, Network
from tests.acceptance.conftest import wait_for
from tests.acceptance.hosts import Host, broker_on, network, postgresql_on
from tests.acceptance.night import SETTINGS, TINY, Night
from tests.emulators import TOKEN, Emulator
from tests.integration.conftest import working_network

IMAGES, BATCH = 640, 8
_BACK_S = 60.0  # within which a worker is at work again after its cable was plugged in


class Machines:
    """Says so when a process on one of the hosts has ended."""

    def __init__(self, hosts: dict[str, Host]) -> None:
        self._hosts = hosts

    def check(self) -> None:
        for host in self._hosts.values():
            for process in host.processes:
                assert process.poll() is None, host.log.read_text()[-3_000:]


def answers(database_url: str, broker_url: str) -> bool:
    database = Database(database_url)
    try:
        with suppress(StorageError, BrokerUnavailable):
            broker.check(broker_url)
            database.revision()  # a transaction would not connect before its first statement
            return True
    finally:
        database.dispose()
    return False


@pytest.fixture
def farm(tmp_path: Path) -> Iterator[tuple[Night, dict[str, Host], dict[str, str]]]:
    """Database, broker and reconciler on `hub`, an emulator on `qpu`; and what a worker has to be told."""
    with network(tmp_path, ("hub", "qpu", "a", "b")) as hosts, postgresql_on(hosts["hub"]) as database_url:
        hub, qpu = hosts["hub"], hosts["qpu"]
        broker_url = broker_on(hub)
        wait_for(lambda: answers(database_url, broker_url), "database and broker", 30)
        migrations.upgrade(database_url)
        at = (f"--host={qpu.address}", f"--token={TOKEN}", "--keep=100000", f"--state={tmp_path / 'qpu.db'}")
        with Emulator(TINY, *at, samples="instant", clock="real", within=qpu.within) as emulator:
            told = {
                **SETTINGS,
                "ANNEALQ_DATABASE_URL": database_url,
                "ANNEALQ_BROKER_URL": broker_url,
                "ANNEALQ_EMULATOR_URL": emulator.endpoint,
                "ANNEALQ_EMULATOR_TOKEN": TOKEN,
                "ANNEALQ_HOME": str(tmp_path),
            }
            hub.start([sys.executable, "-m", "worker.reconcile"], told)
            database = Database(database_url)
            with database.transaction() as session:
                session.execute(insert(Network).values(working_network()))
            settings = load(home=tmp_path, database_url=database_url, broker_url=broker_url)
            yield Night(cast(Any, Machines(hosts)), settings, database, emulator), hosts, told
            database.dispose()


def start_worker(host: Host, told: dict[str, str]) -> subprocess.Popen[bytes]:
    return host.start([*worker_command(1, queue_names()), "-n", f"{host.name}@{host.address}"], told)


def sampling(night: Night, run: int) -> int:
    """Batches that workers hold."""
    with night.database.reading() as session:
        held = select(func.count()).where(Batch.run_id == run, Batch.state == BatchState.SAMPLING)
        return session.execute(held).scalar_one()


@pytest.mark.slow
def test_a_worker_whose_cable_is_pulled_loses_nothing_and_does_no_harm_when_it_is_back(
    farm: tuple[Night, dict[str, Host], dict[str, str]],
) -> None:
    night, hosts, told = farm
    started = {name: start_worker(hosts[name], told) for name in ("a", "b")}
    run = night.enqueue(IMAGES, batch_size=BATCH)
    wait_for(lambda: night.answered() >= 8 and sampling(night, run) == 2, "both workers to hold a batch", 120)
    hosts["a"].pull_cable()
    pulled = time.monotonic()
    assert not night.is_finished(run)
    night.finish(run, 120)
    print(f"\nthe run ended {time.monotonic() - pulled:.1f} s after a cable was pulled")  # noqa: T201
    night.assert_every_image_once(run)
    night.assert_books_agree()

    hosts["a"].plug_in()
    plugged = time.monotonic()
    # All by itself from here: whatever it still had in hand, it has to find out that it is another's.
    started["b"].terminate()
    started["b"].wait(30)
    hosts["b"].processes.remove(started["b"])
    again = night.enqueue(IMAGES // 8, batch_size=BATCH, seed=1)
    night.finish(again, _BACK_S + 60)
    print(f"the other had done {IMAGES // 8} images {time.monotonic() - plugged:.1f} s after it was back")  # noqa: T201
    for one in (run, again):
        night.assert_every_image_once(one)
    night.assert_books_agree()
    assert started["a"].poll() is None
