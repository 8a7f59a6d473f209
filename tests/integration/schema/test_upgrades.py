"""Today's workers finish the work of a database of an older revision after its upgrade."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, MetaData, Select, func, insert, select, text

import migrations
from producer.doctor import examination
from producer.networks.choose import choose_network
from producer.runs import control, queries, summary
from producer.runs.enqueue import RunOptions, enqueue_run
from schema.codecs import arrays
from schema.database import Database
from schema.errors import DatabaseOutdated, DatabaseTooNew
from schema.messages import Message, Task
from schema.parameters import Parameters, Solver, Visible
from schema.settings import load
from schema.settings.worker import WorkerSettings
from schema.shapes import ImageShape
from schema.states import BatchState, RunState
from schema.tables import Base, Batch, Classification, Network, Problem, Run
from tests.conftest import administer, annealq_process, named
from tests.emulators import TOKEN, Emulator
from tests.integration.conftest import START, Cli, Outbox, some_images, work_off, working_network
from worker import reconcile
from worker.context import Context
from worker.pipeline.sample_batch import sample_batch
from worker.pipeline.score_batch import score_batch

OLD = "0003"
REMOTE = Parameters(reads=10, tiles=2, qpu="tiny", visible=Visible.FOLDED)
SETTINGS = WorkerSettings(quarantine_s=1.0, solver_timeout_s=5.0, retry_base_s=0.05, rehint_idle_s=0.05)

Age = Callable[[dict[str, Any]], dict[str, Any] | None]


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator("--solver=tiny=pegasus:6:6:10", f"--token={TOKEN}") as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def old_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Create an empty database of the older revision."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'old.db'}"
        migrations.upgrade(url, OLD)
        yield url
        return
    server = request.getfixturevalue("postgresql")
    name = f"annealq_{uuid.uuid4().hex[:12]}"
    administer(server, f"CREATE DATABASE {name}")
    migrations.upgrade(named(server, name), OLD)
    yield named(server, name)
    administer(server, f"DROP DATABASE {name} WITH (FORCE)")


def open_context(url: str, emulator: Emulator) -> Context:
    context = Context(Database(url), SETTINGS, Outbox())
    context.solvers.shared = load(emulator_url=emulator.endpoint, emulator_token=TOKEN)
    return context


def make_today(url: str, emulator: Emulator) -> None:
    """Create runs 1 to 4 by today's code: queued, half done, done on the emulator, and paused."""
    migrations.upgrade(url)
    context = open_context(url, emulator)
    database = context.database
    with database.transaction() as session:
        session.execute(insert(Network).values(working_network()))
        network = choose_network(session, "digits", ImageShape.image(8, 8))
    ten = RunOptions(batch_size=10)
    remote = enqueue_run(database, some_images(8, seed=3), network, Solver.EMULATOR, REMOTE, ten).id
    work_off(context, Message(Task.DISPATCH))
    local = [
        enqueue_run(database, some_images(20, seed=seed), network, Solver.LOCAL, Parameters(reads=8), ten).id
        for seed in (0, 1, 2)
    ]
    assert (remote, local) == (1, [2, 3, 4])
    sample_batch(context, first_batch(database, 3))
    score_batch(context, first_batch(database, 3))
    control.pause(database, 4)
    context.solvers.disconnect(Solver.EMULATOR, REMOTE)
    database.dispose()


def first_batch(database: Database, run: int) -> int:
    with database.reading() as session:
        return session.execute(select(func.min(Batch.id)).where(Batch.run_id == run)).scalar_one()


def older_run(row: dict[str, Any]) -> dict[str, Any]:
    if row["id"] == 1:
        row |= {"state": "running", "statistics": None, "finished_at": None, "batches_scored": 0}
    return row


def older_batch(row: dict[str, Any]) -> dict[str, Any]:
    row = older_shape(row)
    row["images_sha256"] = arrays.checksum(row["images"])  # labels were not covered
    if row["run_id"] == 1:
        row |= {"state": "sampling", "scored_at": None, "sampled_at": None, "lease_until": START}
    return row


def older_problem(row: dict[str, Any]) -> dict[str, Any]:
    """Make the emulator's four problems answered, sent, sent with an unknown id, and lost."""
    place = row["ordinal"] if row["sapi_id"] is not None else 0
    if row["chain_breaks"] is not None:
        row["chain_breaks"] = row["chain_breaks"][8:]  # without mark and checksum
    if place > 0:
        row |= {"answered_at": None, "charged_us": None, "timing": None, "chain_breaks": None}
        row |= {"sending_at": START, "state": "sent" if place == 1 else "sending"}
    if place > 1:
        row |= {"sapi_id": None, "sent_at": None}
    if place == 3:
        row["label"] = f"annealq:{'f' * 32}"
    return row


def older_sample_set(row: dict[str, Any]) -> dict[str, Any] | None:
    return None if row["problem_id"] in (2, 3, 4) else row


def older_classification(row: dict[str, Any]) -> dict[str, Any] | None:
    row["scores"] = row["scores"][:-4]  # without checksum
    return None if row["run_id"] == 1 else row


def older_shape(row: dict[str, Any]) -> dict[str, Any]:
    height, width = ImageShape.parse(row["shape"], row["dtype"]).size
    return row | {"height": height, "width": width}


OLDER: dict[str, Age] = {
    "networks": older_shape,
    "runs": older_run,
    "batches": older_batch,
    "problems": older_problem,
    "sample_sets": older_sample_set,
    "classifications": older_classification,
}


def write_old(today: str, url: str) -> None:
    """Insert today's rows, changed to the older form, into the older tables."""
    source, target = Database(today).engine, Database(url).engine
    held = MetaData()
    held.reflect(bind=target)
    with source.connect() as reading, target.begin() as writing:
        for table in held.sorted_tables:
            if table.name == "alembic_version":
                continue
            given = [row._asdict() for row in reading.execute(_today(table.name))]
            aged = [OLDER.get(table.name, dict)(row) for row in given]
            for row in aged:
                if row is not None:
                    writing.execute(
                        table.insert().values({c.name: _plain(row[c.name], writing) for c in table.c})
                    )
            if target.dialect.name == "postgresql" and "id" in table.c:
                writing.execute(
                    text("SELECT setval(pg_get_serial_sequence(:name, 'id'), :next, false)"),
                    {"name": table.name, "next": 1 + max((row["id"] for row in given), default=0)},
                )
    source.dispose()
    target.dispose()


def _today(table: str) -> Select[Any]:
    """Return the rows of a table; older batches contain their images."""
    held = Base.metadata.tables[table]
    if table != "batches":
        return select(held)
    images = Base.metadata.tables["batch_images"]
    return select(held, *images.c).join(images, images.c.batch_id == held.c.id)


def _plain(value: Any, connection: Connection) -> Any:
    """Return a value as the driver accepts it for a reflected column."""
    if hasattr(value, "tzinfo") and connection.dialect.name == "sqlite":
        return value.replace(tzinfo=None)
    return getattr(value, "value", value)


def finish(context: Context, runs: tuple[int, ...], patience_s: float = 60) -> None:
    """Do the work of reconciler and worker until these runs are done."""
    deadline = time.monotonic() + patience_s
    outbox = context.hints
    assert isinstance(outbox, Outbox)
    outbox.waits = 0
    while True:
        reconcile.reconcile(context.database, context.settings, outbox)
        work_off(context, *outbox.take())
        with context.database.reading() as session:
            states = [queries.run(session, run).state for run in runs]
        if set(states) == {RunState.DONE}:
            return
        assert RunState.FAILED not in states
        assert time.monotonic() < deadline, states


def test_work_of_an_older_revision_is_finished(old_url: str, tmp_path: Path, emulator: Emulator) -> None:
    today = f"sqlite:///{tmp_path / 'today.db'}"
    make_today(today, emulator)
    write_old(today, old_url)
    accepted = len(emulator.ledger()["problems"])
    migrations.upgrade(old_url)
    migrations.check(old_url)
    context = open_context(old_url, emulator)
    database = context.database
    assert remote_problems(database) == [("answered", 0), ("sent", 0), ("sending", 0), ("sending", 0)]
    finish(context, (1, 2, 3))
    # Fetched by its id, adopted by its label, and sent again.
    assert remote_problems(database) == [("answered", n) for n in (0, 0, 1, 0)]
    with database.reading() as session:
        assert queries.run(session, 4).state is RunState.PAUSED
        assert session.execute(select(Run.paused_by).where(Run.id == 4)).scalar_one() == "hand"
    control.resume(database, 4)
    finish(context, (4,))
    context.solvers.disconnect(Solver.EMULATOR, REMOTE)
    with database.reading() as session:
        for run, images, batches in ((1, 8, 1), (2, 20, 2), (3, 20, 2), (4, 20, 2)):
            shown = queries.run(session, run)
            counted = session.execute(
                select(func.count()).where(Classification.run_id == run, Classification.label.is_not(None))
            ).scalar_one()
            assert (counted, shown.batches_scored, shown.batches_failed) == (images, batches, 0)
            assert summary.mean_scores(session, run, 10).shape == (10, 10)
        states = session.execute(select(Batch.state).distinct()).scalars().all()
        ours = session.execute(select(Problem).where(Problem.sapi_id.is_not(None))).scalars().all()
        charged = {problem.sapi_id: problem.charged_us for problem in ours}
    assert states == [BatchState.SCORED]
    theirs = {one["id"]: round(one["charged_us"]) for one in emulator.ledger()["problems"]}
    assert len(theirs) == accepted + 1  # the one that had got lost
    assert {key: round(us or 0) for key, us in charged.items()} == {key: theirs[key] for key in charged}
    assert len(charged) == 4
    seen = examination.examine(database, load(), WorkerSettings(), lambda _name, _size: lambda _done: None)
    assert seen.findings == ()
    database.dispose()


def remote_problems(database: Database) -> list[tuple[str, int]]:
    """Return the state of each problem of run 1, and whether it was adopted."""
    with database.reading() as session:
        query = select(Problem.state, Problem.adopted).join(Batch, Batch.id == Problem.batch_id)
        rows = session.execute(query.where(Batch.run_id == 1).order_by(Problem.id)).all()
    return [(state.value, int(adopted)) for state, adopted in rows]


@pytest.mark.parametrize(
    ("revision", "error", "hint"),
    [("0003", DatabaseOutdated, "annealq db upgrade"), ("9999", DatabaseTooNew, "upgrade annealq")],
)
def test_commands_on_another_revision_say_so_in_one_line(
    database: Database, cli: Cli, revision: str, error: type[Exception], hint: str
) -> None:
    at_revision(database, revision)
    for command in (("runs", "list"), ("networks", "list"), ("db", "current")):
        with pytest.raises(error, match=hint) as raised:
            cli(*command)
        assert "\n" not in str(raised.value)
        assert revision in str(raised.value)


@pytest.mark.parametrize(
    ("process", "revision", "hint"),
    [("worker", "0003", "annealq db upgrade"), ("reconciler", "9999", "upgrade annealq")],
)
def test_a_worker_of_another_revision_does_not_start(
    tmp_path: Path, process: str, revision: str, hint: str
) -> None:
    url = f"sqlite:///{tmp_path / 'annealq.db'}"
    migrations.upgrade(url)
    at_revision(Database(url), revision)
    done = annealq_process(
        process, env={"ANNEALQ_DATABASE_URL": url, "ANNEALQ_BROKER_URL": "redis://127.0.0.1:1/0"}
    )
    assert done.returncode == 1
    said = done.stderr.strip().splitlines()
    assert hint in said[-1]
    assert said[-1].startswith("error: ")
    assert "Traceback" not in done.stderr


def at_revision(database: Database, revision: str) -> None:
    with database.transaction() as session:
        session.execute(text("UPDATE alembic_version SET version_num = :there"), {"there": revision})
    database.dispose()
