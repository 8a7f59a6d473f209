"""Fixtures that need a place: the data folder, SQLite and PostgreSQL databases."""

from __future__ import annotations

import gc
import io
import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import cache
from pathlib import Path

import hypothesis
import pytest
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.engine import make_url
from sqlalchemy.pool import NullPool
from sqlalchemy.util import LRUCache

import migrations
from producer import cli
from producer.stack import programs
from schema.database import Database
from tests import PATIENCE_S

# Seeds are fixed, and a loaded machine is not a failure.
hypothesis.settings.register_profile("annealq", deadline=None, derandomize=True)
hypothesis.settings.load_profile("annealq")

# Each test has a database of its own. SQLAlchemy would compile all statements again for each, which took a
# quarter of the tests' time: the databases of one process share them, and those of one kind count as equal.
_COMPILED: LRUCache[object, object] = LRUCache(5_000)
for _dialect in (PGDialect_psycopg, SQLiteDialect_pysqlite):
    _dialect.__eq__ = lambda self, other: type(self) is type(other)  # type: ignore[method-assign, assignment]
    _dialect.__hash__ = lambda self: hash(type(self))  # type: ignore[method-assign, assignment]


@event.listens_for(Engine, "engine_connect")
def _share_compiled(connection: Connection) -> None:
    connection.engine._compiled_cache = _COMPILED  # type: ignore[assignment]


@pytest.fixture(scope="session", autouse=True)
def _forked_programs() -> Iterator[None]:
    """Fork the programs of the worker from one process: a start of each takes a second and more."""
    with programs.forked():
        yield


ROOT = Path(__file__).parent.parent
DATA = Path(os.environ.get("ANNEALQ_TEST_DATA", ROOT.parent / "shared" / "data"))


def pytest_collection_finish() -> None:
    """Spare the garbage collector all that is imported: looking through it took a tenth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 50)


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test may see the user's own settings, home or queue."""
    for name in [name for name in os.environ if name.startswith("ANNEALQ_") and "TEST" not in name]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("ANNEALQ_HOME", str(tmp_path_factory.mktemp("home")))


def data_file(name: str) -> Path:
    """A file of the data folder; the test is skipped where it is absent."""
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{name} is not in the data folder (ANNEALQ_TEST_DATA)")
    return path


@pytest.fixture(scope="session")
def mnist_small() -> Path:
    return data_file("mnist_small.npz")


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """URL of a PostgreSQL server: the given one, or a private one of this session."""
    if url := os.environ.get("ANNEALQ_TEST_DATABASE_URL"):
        yield url
        return
    binaries = _postgresql_binaries()
    if binaries is None:
        if os.environ.get("ANNEALQ_TEST_REQUIRE_POSTGRESQL"):
            pytest.fail("PostgreSQL is required here, and neither initdb nor a server's URL was found")
        pytest.skip("no PostgreSQL: install it, or set ANNEALQ_TEST_DATABASE_URL")
    folder = Path(tempfile.mkdtemp(prefix="annealq-pg-", dir=os.environ.get("PYTEST_DEBUG_TEMPROOT")))
    try:
        with _server(binaries, folder):
            url = f"postgresql+psycopg://postgres@/postgres?host={folder}"
            yield url
            _administration(url).close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def own_server() -> Iterator[tuple[_server, str]]:
    """A PostgreSQL server that a test may stop and start, and the URL of a migrated database on it."""
    binaries = _postgresql_binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL on this machine")
    folder = Path(tempfile.mkdtemp(prefix="annealq-pg-", dir=os.environ.get("PYTEST_DEBUG_TEMPROOT")))
    try:
        with _server(binaries, folder) as server:
            url = f"postgresql+psycopg://postgres@/postgres?host={folder}"
            migrations.upgrade(url)
            yield server, url
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def default_server() -> Iterator[str]:
    """URL of a migrated database on a PostgreSQL server with its default settings, for measurements."""
    binaries = _postgresql_binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL on this machine")
    folder = Path(tempfile.mkdtemp(prefix="annealq-pg-", dir=os.environ.get("PYTEST_DEBUG_TEMPROOT")))
    try:
        with _server(binaries, folder, {}):
            url = f"postgresql+psycopg://postgres@/postgres?host={folder}"
            migrations.upgrade(url)
            yield url
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def _sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "annealq.db"
    migrations.upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def _postgresql_template(postgresql: str) -> str:
    name = f"annealq_template_{uuid.uuid4().hex[:8]}"
    administer(postgresql, f"CREATE DATABASE {name}")
    migrations.upgrade(named(postgresql, name))
    return name


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty, migrated database, on SQLite and on PostgreSQL."""
    with _empty_database(request, tmp_path) as url:
        yield url


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def shared_database_url(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The same, once for all tests of a module that only read what a fixture has written."""
    with _empty_database(request, tmp_path_factory.mktemp("shared")) as url:
        yield url


@contextmanager
def _empty_database(request: pytest.FixtureRequest, folder: Path) -> Iterator[str]:
    if request.param == "sqlite":
        path = folder / "annealq.db"
        shutil.copy(request.getfixturevalue("_sqlite_template"), path)
        yield f"sqlite:///{path}"
        return
    server = request.getfixturevalue("postgresql")
    template = request.getfixturevalue("_postgresql_template")
    name = f"annealq_{uuid.uuid4().hex[:12]}"
    copy_database(server, template, name)
    yield named(server, name)
    administer(server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    yield opened
    opened.dispose()


def named(server: str, name: str) -> str:
    return make_url(server).set(database=name).render_as_string(hide_password=False)


@cache
def _administration(server: str) -> Connection:
    """A connection to a server that lives as long as the tests: a new one costs as much as a new database."""
    return create_engine(server, isolation_level="AUTOCOMMIT", poolclass=NullPool).connect()


def administer(server: str, statement: str) -> None:
    _administration(server).exec_driver_sql(statement)


def copy_database(server: str, template: str, name: str) -> None:
    """Make a database like ``template``, by copying its files where the server gives the choice."""
    has_choice = (_administration(server).dialect.server_version_info or ()) >= (15,)
    strategy = " STRATEGY file_copy" if has_choice else ""  # a third of the time of the default
    administer(server, f"CREATE DATABASE {name} TEMPLATE {template}{strategy}")


def _postgresql_binaries() -> Path | None:
    found = shutil.which("initdb")
    places = [Path(found).resolve().parent] if found else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((place for place in places if (place / "postgres").exists()), None)


# Tests need no data after a power cut, and make and drop a database each: what is written for that is spared.
_QUICK_SERVER = {
    "max_connections": "100",
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "1h",
    "autovacuum": "off",
}


class _server:  # noqa: N801 - used as a context manager only
    """A PostgreSQL server on a Unix socket; it refuses to run as root, so root lends it to `nobody`."""

    def __init__(self, binaries: Path, folder: Path, options: Mapping[str, str] = _QUICK_SERVER) -> None:
        """options: those of the server's own that are not its defaults."""
        self.binaries, self.folder = binaries, folder
        self.options = {**options, "listen_addresses": ""}
        self.user = "nobody" if os.geteuid() == 0 else None

    def __enter__(self) -> _server:
        self.folder.chmod(0o755)
        data = self.folder / "data"
        if self.user:
            shutil.chown(self.folder, self.user)
        self._run("initdb", "-D", str(data), "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8")
        self.start()
        return self

    def start(self) -> None:
        data = self.folder / "data"
        options = [f"--{name}={value}" for name, value in self.options.items()]
        command = [str(self.binaries / "postgres"), "-D", str(data), "-k", str(self.folder), *options]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, user=self.user, stdout=log, stderr=log, cwd="/")
        self._wait()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self.process.send_signal(2)  # fast shutdown: connections are dropped
        self.process.wait(PATIENCE_S)

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self.binaries / program), *arguments]
        subprocess.run(command, user=self.user, check=True, capture_output=True, cwd="/")

    def _wait(self) -> None:
        deadline = time.monotonic() + PATIENCE_S
        ready = [str(self.binaries / "pg_isready"), "-h", str(self.folder), "-q"]
        while subprocess.run(ready, check=False).returncode:
            if self.process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"PostgreSQL did not start: {(self.folder / 'log').read_text()}")
            time.sleep(0.05)


def annealq(*arguments: object, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run the real command line in this process, with what it needs imported already.

    A process of its own takes more than a second of processor time until it begins.
    """
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    program = ["annealq", *map(str, arguments)]
    with (
        pytest.MonkeyPatch.context() as patch,
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        patch.chdir(ROOT)
        patch.setattr(sys, "argv", program)
        for name, value in (env or {}).items():
            patch.setenv(name, value)
        try:
            cli.main()
            code = 0
        except SystemExit as ending:
            code = int(ending.code or 0)
        except BaseException:
            print(_written(out), _written(err), file=sys.__stderr__)  # so that a report shows it
            raise
    return subprocess.CompletedProcess(program, code, _written(out), _written(err))


def _written(stream: io.TextIOWrapper) -> str:
    return stream.buffer.getvalue().decode()  # type: ignore[attr-defined, no-any-return]


def annealq_process(
    *arguments: str, timeout: float = PATIENCE_S, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the real command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "producer.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        cwd=ROOT,
        env={**os.environ, **(env or {})},
    )
