"""The doctor finds exactly the damage that was planted by plain SQL, and repairs what it can."""

# ruff: noqa: S608 - the statements are made of constants

from __future__ import annotations

import json
import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import func, insert, select, text, update
from sqlalchemy.engine import make_url
from typer.testing import CliRunner

import migrations
from producer.cli import app
from producer.doctor import examination
from producer.doctor.finding import Diagnosis, Finding
from producer.networks.choose import choose_network
from producer.networks.training import enqueue_training
from producer.runs import control, queries
from producer.runs.enqueue import RunOptions, enqueue_run
from schema.codecs import arrays, image_digests
from schema.database import Database
from schema.errors import AnnealqError
from schema.messages import Message, Task
from schema.network.architecture import preset
from schema.parameters import Parameters, Solver
from schema.settings import load
from schema.settings.worker import WorkerSettings
from schema.shapes import ImageShape
from schema.states import CalibrationState, PreparationState, RunState
from schema.tables import (
    Base,
    Calibration,
    Classification,
    Embedding,
    Event,
    Network,
    Preparation,
    Problem,
    Run,
)
from tests.conftest import administer, copy_database, named
from tests.integration.conftest import START, Outbox, some_images, work_off, working_network
from tests.integration.doctor.damages import DAMAGES, LONG_AGO, PROBLEM, RUNNING, SAMPLING
from tests.integration.doctor.test_damage import flip
from tests.integration.rows import add_chip, add_embedding
from worker.context import Context
from worker.pipeline.sample_batch import sample_batch
from worker.pipeline.score_batch import score_batch
from worker.tasks import sample_and_score


@dataclass(frozen=True)
class Ward:
    """A database with run 1, which is done, and run 2, which waits: batches 1 to 3 and 4 to 5."""

    database: Database
    context: Context

    def damage(self, *statements: str) -> None:
        """Plain SQL, as if there were no foreign keys."""
        is_sqlite = self.database.url.get_backend_name() == "sqlite"
        off, on = (
            ("PRAGMA foreign_keys = OFF", "PRAGMA foreign_keys = ON")
            if is_sqlite
            else ("SET session_replication_role = replica", "SET session_replication_role = DEFAULT")
        )
        connection = self.database.engine.raw_connection()
        cursor = connection.cursor()
        try:
            for statement in (off, *statements, on):
                cursor.execute(statement)
            connection.commit()
        finally:
            connection.rollback()
            cursor.execute(on)
            connection.commit()
            connection.close()

    def examine(self) -> Diagnosis:
        return examination.examine(
            self.database, load(), WorkerSettings(), lambda _name, _size: lambda _done: None
        )

    def repair(self) -> Diagnosis:
        return examination.repair(self.database, self.examine())

    def findings(self) -> list[tuple[str, str, int | None, bool]]:
        return [brief(one) for one in self.examine().findings]

    def noted(self) -> int:
        """What the doctor has written into `events`."""
        with self.database.reading() as session:
            query = select(func.count()).select_from(Event).where(Event.why.like("doctor: %"))
            return session.execute(query).scalar_one()

    def work(self) -> None:
        work_off(self.context, Message(Task.DISPATCH))


def brief(finding: Finding) -> tuple[str, str, int | None, bool]:
    return finding.check, finding.table, finding.row, finding.repair is not None


# PostgreSQL copies a whole database for every test; `test_doctor_ledger` asks it all questions at once.
@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def template(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A healthy database, made once on each kind of database: every test damages a copy."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('ward') / 'annealq.db'}"
    else:
        server = request.getfixturevalue("postgresql")
        name = f"annealq_ward_{uuid.uuid4().hex[:8]}"
        administer(server, f"CREATE DATABASE {name}")
        url = named(server, name)
    migrations.upgrade(url)
    database = Database(url)
    with database.transaction() as session:
        session.execute(insert(Network).values(working_network()))
        network = choose_network(session, "digits", ImageShape.image(8, 8))
    ward = Ward(database, Context(database, WorkerSettings(max_attempts=1), Outbox()))
    options = RunOptions(batch_size=10)
    for images in (some_images(25), some_images(20, seed=1)):
        enqueue_run(database, images, network, Solver.LOCAL, Parameters(reads=8), options)
        if len(images.images) == 25:
            ward.work()
    database.dispose()
    return url


@pytest.fixture
def database_url(template: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """A copy of the healthy database."""
    held = make_url(template)
    if held.database is not None and held.get_backend_name() == "sqlite":
        shutil.copy(held.database, tmp_path / "annealq.db")
        yield f"sqlite:///{tmp_path / 'annealq.db'}"
        return
    server = request.getfixturevalue("postgresql")
    name = f"annealq_{uuid.uuid4().hex[:12]}"
    copy_database(server, str(held.database), name)
    yield named(server, name)
    administer(server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def ward(database: Database, context: Context) -> Ward:
    return Ward(database, context)


def test_a_healthy_database_gives_no_finding(ward: Ward) -> None:
    seen = ward.examine()
    assert (seen.findings, seen.ok) == ((), True)
    assert (seen.checked["runs"], seen.checked["classifications"]) == (2, 25)


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_found_exactly_and_repaired_where_that_is_safe(ward: Ward, name: str) -> None:
    statements, expected = DAMAGES[name]
    ward.damage(*statements)
    seen = ward.examine()
    assert sorted(map(brief, seen.findings), key=str) == sorted(expected, key=str)
    assert all(one.what and one.hint for one in seen.findings)
    repaired = examination.repair(ward.database, seen)
    assert [one.repaired for one in repaired.findings] == [one.repair is not None for one in seen.findings]
    left = [one for one in expected if not one[3]]
    assert repaired.ok == (not left)
    assert sorted(ward.findings(), key=str) == sorted(left, key=str)
    assert ward.noted() >= len(expected) - len(left)


@pytest.mark.parametrize(
    "name", ["scored batches", "a classification came early", "a silent worker", "aggregating too early"]
)
def test_repaired_work_is_finished(ward: Ward, name: str) -> None:
    ward.damage(*DAMAGES[name][0])
    assert ward.repair().ok
    ward.work()
    with ward.database.reading() as session:
        for run, images in ((1, 25), (2, 20)):
            assert queries.run(session, run).state is RunState.DONE
            query = select(func.count()).where(Classification.run_id == run)
            assert session.execute(query).scalar_one() == images
    assert ward.findings() == []


@pytest.mark.parametrize("damaged", [False, True], ids=["gone", "damaged"])
def test_reads_that_are_lost_before_they_are_scored_are_drawn_again(ward: Ward, damaged: bool) -> None:
    sample_batch(ward.context, 4)
    spoil_reads(ward, damaged)
    found = ward.examine().findings
    assert [brief(one)[3] for one in found] == [True]
    assert ward.repair().ok
    ward.work()
    assert_done(ward, 2)


@pytest.mark.parametrize("damaged", [False, True], ids=["gone", "damaged"])
def test_reads_that_are_lost_and_failed_their_batch_are_drawn_again_on_resume(
    ward: Ward, damaged: bool
) -> None:
    sample_batch(ward.context, 4)
    spoil_reads(ward, damaged)
    score_batch(ward.context, 4)
    ward.work()
    found = ward.examine().findings
    assert [brief(one)[3] for one in found] == [True]
    assert "annealq runs resume 2" in found[0].hint
    assert ward.repair().ok
    control.resume(ward.database, 2)
    ward.work()
    assert_done(ward, 2)


def spoil_reads(ward: Ward, damaged: bool) -> None:
    with ward.database.reading() as session:
        problem = session.execute(select(Problem.id).where(Problem.batch_id == 4)).scalar_one()
    if damaged:
        ward.damage(
            f"UPDATE sample_sets SET data = labels FROM batch_images WHERE batch_id = 4 AND "
            f"problem_id = {problem}"
        )
    else:
        ward.damage(f"DELETE FROM sample_sets WHERE problem_id = {problem}")


def assert_done(ward: Ward, run: int) -> None:
    with ward.database.reading() as session:
        shown = queries.run(session, run)
    assert (shown.state, shown.batches_scored, shown.batches_failed) == (RunState.DONE, 2, 0)
    assert ward.findings() == []


def test_a_readable_sample_set_is_never_removed(ward: Ward) -> None:
    everything = [statement for name in DAMAGES if "revision" not in name for statement in DAMAGES[name][0]]
    harmless = [one for one in everything if "sample_sets" not in one and not re.match("DROP|ALTER", one)]
    count = select(func.count()).select_from(text("sample_sets"))
    with ward.database.reading() as session:
        before = session.execute(count).scalar_one()
    excluded: Any = ward.database.engine.dialect.loaded_dbapi.IntegrityError
    for statement in harmless:
        with suppress(excluded):  # by another damage
            ward.damage(statement)
    ward.repair()
    ward.repair()
    with ward.database.reading() as session:
        assert session.execute(count).scalar_one() == before == 3


def test_every_kind_of_stored_bytes_is_checked(ward: Ward) -> None:
    database = ward.database
    enqueue_training(database, preset("digits"), some_images(40), transfer="energy", seed=0, epochs=1)
    with database.transaction() as session:
        embedding = add_embedding(session, add_chip(session))
        session.execute(insert(Calibration).values(calibration()))
        shares = arrays.encode_chain_breaks(np.full((10, 50), 0.25))
        session.execute(update(Problem).where(Problem.id == 1).values(chain_breaks=shares))
    assert embedding == 1
    assert ward.findings() == []
    for table, column, row in (
        ("training_sets", "images", 1),
        ("training_sets", "labels", 1),
        ("networks", "weights", 1),
        ("calibrations", "image_digests", 1),
        ("chips", "graph", 1),
        ("embeddings", "tiling", 1),
        ("batch_images", "images", 5),
        ("batch_images", "labels", 5),
        ("problems", "chain_breaks", 1),
        ("sample_sets", "data", 2),
        ("classifications", "scores", 1),
    ):
        entity = ENTITIES[table]
        held = getattr(entity, column)
        key = next(iter(entity.__table__.primary_key))
        where = Classification.image == 7 if table == "classifications" else key == row
        before = flip(database, held, where, 10)
        assert ward.findings() == [("checksums", table, row, False)], (table, column)
        with database.transaction() as session:
            session.execute(update(entity).where(where).values({column: before}))
    assert ward.findings() == []


ENTITIES: dict[str, Any] = {one.class_.__tablename__: one.class_ for one in Base.registry.mappers}


def calibration() -> dict[str, Any]:
    return {
        "network_id": 1,
        "solver": "local",
        "graph_id": "",
        "visible": "sampled",
        "name": "x",
        "images": 3,
        "image_digests": image_digests.seal(image_digests.digests(some_images(3).images)),
        "state": CalibrationState.READY,
        "parameters": {},
        "accuracy": 0.5,
        "created_at": START,
        "finished_at": START,
    }


def test_every_kind_of_lease_is_handed_on(ward: Ward) -> None:
    with ward.database.transaction() as session:
        add_embedding(session, add_chip(session))
        held = {**calibration(), "state": CalibrationState.FITTING, "lease_until": START}
        session.execute(insert(Calibration).values(held))
        session.execute(
            insert(Preparation).values(
                network_id=1, solver="emulator", parameters={}, images=0, batch_size=1, time_limit_s=1.0,
                state=PreparationState.PREPARING, lease_until=START, created_at=START,
            )
        )  # fmt: skip
    ward.damage(f"UPDATE embeddings SET state = 'searching', lease_until = '{LONG_AGO}'")
    tables = ["calibrations", "embeddings", "preparations"]
    assert sorted(ward.findings()) == [("leases", table, 1, True) for table in tables]
    assert ward.repair().ok
    assert ward.findings() == []
    with ward.database.reading() as session:
        entities = (Calibration, Embedding, Preparation)
        states = [session.execute(select(one.state)).scalar_one() for one in entities]
    assert states == ["waiting", "failed", "queued"]


def test_a_row_that_is_worked_on_meanwhile_is_left_alone(ward: Ward) -> None:
    ward.damage(RUNNING, SAMPLING)
    seen = ward.examine()
    ward.damage("UPDATE batches SET lease_until = '2100-01-01 00:00:00', fence = 2 WHERE id = 4")
    done = examination.repair(ward.database, seen)
    assert [one.repaired for one in done.findings] == [False]
    assert "check again" in done.findings[0].hint
    assert ward.noted() == 0


def test_a_database_at_work_gives_no_finding(ward: Ward) -> None:
    with ward.database.reading() as session:
        network = choose_network(session, "digits", ImageShape.image(8, 8))
    options = RunOptions(batch_size=4)
    enqueue_run(ward.database, some_images(120), network, Solver.LOCAL, Parameters(reads=8), options)
    looks = 0
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(ward.work)
        while not working.done():
            assert ward.findings() == []
            looks += 1
    working.result()
    assert looks > 1
    assert ward.findings() == []


def test_a_run_that_was_paused_and_ended_all_the_same_is_well(ward: Ward) -> None:
    sample_and_score(ward.context, 4)
    sample_and_score(ward.context, 5)
    control.pause(ward.database, 2)
    ward.work()
    assert_done(ward, 2)


def test_the_quarantine_is_that_of_the_workers(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    ward.damage(PROBLEM)
    monkeypatch.setenv("ANNEALQ_WORKER_QUARANTINE_S", str(100 * 365 * 86_400))
    assert ward.findings() == []


Doctor = Callable[..., tuple[int, str]]


@pytest.fixture
def doctor(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> Doctor:
    url = ward.database.url.render_as_string(hide_password=False)
    monkeypatch.setenv("ANNEALQ_DATABASE_URL", url)

    def doctor(*arguments: str) -> tuple[int, str]:
        done = CliRunner().invoke(app, ["doctor", *arguments])
        if isinstance(done.exception, AnnealqError):
            return done.exception.exit_code, str(done.exception)
        return done.exit_code, done.stdout

    return doctor


def test_the_command_says_what_is_wrong_and_how_it_ended(ward: Ward, doctor: Doctor) -> None:
    code, said = doctor()
    assert code == 0
    assert said.endswith("all is well\n")
    ward.damage("UPDATE runs SET batches_scored = 1 WHERE id = 1")
    code, said = doctor()
    assert code == 1
    assert "run-counts: runs 1: batches_scored is 1, its batches say 3" in said
    assert "--repair can repair 1" in said
    code, said = doctor("--json")
    assert code == 1
    shown = json.loads(said)
    assert shown["ok"] is False
    assert shown["checked"]["batches"] == 5
    (finding,) = shown["findings"]
    assert set(finding) == {"check", "table", "row", "what", "way_out", "repairable", "repaired"}
    assert (finding["repairable"], finding["repaired"]) == (True, False)
    code, said = doctor("--repair", "--json")
    assert code == 0
    assert json.loads(said)["findings"][0]["repaired"] is True
    assert doctor("--json") == (0, doctor("--json")[1])
    with ward.database.reading() as session:
        assert session.execute(select(Run.batches_scored).where(Run.id == 1)).scalar_one() == 3


@pytest.mark.parametrize(
    ("solver", "said"), [("local", "choose emulator or dwave"), ("nonsense", "nonsense"), ("exact", "choose")]
)
def test_a_solver_without_a_list_is_a_wrong_use(doctor: Doctor, solver: str, said: str) -> None:
    code, text = doctor("--solver", solver)
    assert (code, said in text) == (2, True)


def test_no_emulator_is_a_failure_with_a_way_out(doctor: Doctor) -> None:
    code, said = doctor("--solver", "emulator")
    assert code == 1
    assert "annealq up --emulator" in said
