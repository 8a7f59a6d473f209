"""The local stack from outside: an owner process, its children, and every way in which they can end."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
from redis import Redis

from producer.stack import broker
from producer.stack.process import Child
from producer.stack.stack import Interrupted, Stack, running_pid
from producer.stack.supervisor import RestartPolicy
from schema.errors import StackError, StackRunning
from schema.settings import Settings, load, socket_path
from tests import PATIENCE_S

QUEUE = "waiting"
# Runs a stack until it is told to stop, as a command does; its children come as JSON: name -> shell script.
OWNER = """
import json, signal, sys, time
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whoever runs the tests may ignore it, as nohup does
from producer.stack.stack import Interrupted, Stack
from producer.stack.process import Child
from producer.stack.supervisor import RestartPolicy
from schema.settings import load

def say(line):
    print(line, flush=True)

scripts, grace, busy = json.loads(sys.argv[1])
children = [Child(name, ["sh", "-c", script]) for name, script in scripts.items()]
try:
    with Stack(load(), children=children, restart_policy=RestartPolicy(grace_s=grace), on_event=say) as stack:
        say("up")
        while busy:
            stack.check()
            time.sleep(0.01)
        sys.exit(128 + stack.wait())
except Interrupted as interruption:
    sys.exit(interruption.exit_code)
"""
# Each says its process id in a file named after it; the file appears in one piece.
SAY_PID = 'echo $$ > "$ANNEALQ_HOME/{0}.new"; mv "$ANNEALQ_HOME/{0}.new" "$ANNEALQ_HOME/{0}.pid"; '
SLEEPER = SAY_PID + "exec sleep 600"
# Finishes its work in 0.3 s when it is asked to end, and leaves a note if the broker was still there.
TIDY = (
    'trap \'sleep 0.3; test -S "${{ANNEALQ_BROKER_URL#redis+socket://}}" && touch "$ANNEALQ_HOME/{0}.tidy"; '
    "exit 0' TERM; " + SAY_PID + "while :; do sleep 0.02; done"
)
# Is deaf to requests, and has a child that is as well.
DEAF = "trap '' TERM; sleep 600 & echo $! > \"$ANNEALQ_HOME/{0}.child\"; " + SAY_PID + "wait; sleep 600"

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a parent-death signal")


@pytest.fixture
def settings(tmp_path: Path, _sqlite_template: Path) -> Settings:
    """Of a home whose database is there: migrations have their own tests."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    shutil.copy(_sqlite_template, home)
    return load(
        home=home,
        database_url=f"sqlite:///{quote(str(home / 'annealq.db'))}",
        broker_url=f"redis+socket://{quote(str(socket_path(home)))}",
    )


@dataclass(frozen=True)
class Owned:
    """An owner process that is up, and what it runs."""

    owner: subprocess.Popen[str]
    home: Path
    names: tuple[str, ...]

    @property
    def socket(self) -> Path:
        return socket_path(self.home)

    def pid(self, name: str) -> int:
        return read_pid(self.home / f"{name}.pid")

    def pids(self) -> list[int]:
        with closing(Redis(unix_socket_path=str(self.socket))) as redis:
            return [int(redis.info("server")["process_id"]), *map(self.pid, self.names)]

    def heard(self, line: str) -> None:
        """Read the owner's lines up to one that begins so."""
        assert self.owner.stdout is not None
        for said in self.owner.stdout:
            if said.startswith(line):
                return
        raise AssertionError(f"the owner never said {line!r}")


@contextmanager
def owned(settings: Settings, *, grace: float = 20.0, busy: bool = False, **scripts: str) -> Iterator[Owned]:
    filled = {name: script.format(name) for name, script in scripts.items()}
    env = {
        **os.environ,
        "ANNEALQ_HOME": str(settings.home),
        "ANNEALQ_DATABASE_URL": settings.database_url,
        "ANNEALQ_BROKER_URL": settings.broker_url,
    }
    command = [sys.executable, "-c", OWNER, json.dumps([filled, grace, busy])]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as owner:
        try:
            stack = Owned(owner, settings.home, tuple(scripts))
            stack.heard("up")
            for name in scripts:
                wait_until((settings.home / f"{name}.pid").exists)
            yield stack
        finally:
            finish(owner)


def finish(owner: subprocess.Popen[str]) -> None:
    """Let it clean up if it still can: what its children started would outlive a kill."""
    owner.terminate()
    try:
        owner.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        owner.kill()


def wait_until(condition: Callable[[], bool], seconds: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not so within {seconds} s"
        time.sleep(0.005)


def read_pid(path: Path) -> int:
    return int(path.read_text())


def is_alive(pid: int) -> bool:
    """Zombies are dead: in a container there may be nobody to reap them."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except ProcessLookupError:
        return False
    except FileNotFoundError:
        return sys.platform != "linux"


def assert_all_gone(stack: Owned, pids: list[int], *, within: float) -> None:
    wait_until(lambda: not any(map(is_alive, pids)), within)
    assert running_pid(stack.home) is None


# The ways to end


@pytest.mark.parametrize(
    ("number", "busy"),
    [
        (signal.SIGINT, False),
        (signal.SIGTERM, False),
        (signal.SIGHUP, False),
        (signal.SIGINT, True),
        (signal.SIGTERM, True),
    ],
)
def test_a_signal_stops_everything_in_order(settings: Settings, number: signal.Signals, busy: bool) -> None:
    with owned(settings, busy=busy, worker=TIDY, reconciler=SLEEPER) as stack:
        pids = stack.pids()
        assert running_pid(settings.home) == stack.owner.pid
        stack.owner.send_signal(number)
        assert stack.owner.wait(PATIENCE_S) == 128 + number
        assert_all_gone(stack, pids, within=0)
        assert (settings.home / "worker.tidy").exists()
        assert not stack.socket.exists()


def test_a_signal_that_arrives_twice_still_leaves_time_to_finish(settings: Settings) -> None:
    with owned(settings, worker=TIDY) as stack:
        stack.owner.send_signal(signal.SIGINT)
        stack.heard("stopping")
        stack.owner.send_signal(signal.SIGINT)
        assert stack.owner.wait(PATIENCE_S) == 130
        assert (settings.home / "worker.tidy").exists()


def test_after_the_grace_the_deaf_are_killed_with_all_they_started(settings: Settings) -> None:
    with owned(settings, grace=0.5, worker=DEAF) as stack:
        pids = [*stack.pids(), read_pid(settings.home / "worker.child")]
        stack.owner.send_signal(signal.SIGTERM)
        assert stack.owner.wait(PATIENCE_S) == 143
        assert_all_gone(stack, pids, within=0.5)


def test_a_second_request_ends_the_grace(settings: Settings) -> None:
    with owned(settings, grace=600, worker=DEAF) as stack:
        pids = stack.pids()
        stack.owner.send_signal(signal.SIGTERM)
        stack.heard("stopping")
        time.sleep(0.6)  # what comes within half a second is taken for the same request
        stack.owner.send_signal(signal.SIGINT)
        assert stack.owner.wait(PATIENCE_S) == 143
        assert_all_gone(stack, pids, within=0)
        assert not stack.socket.exists()


@linux_only
def test_a_killed_owner_takes_its_children_with_it_but_not_the_queued_work(settings: Settings) -> None:
    with owned(settings, worker=SLEEPER, reconciler="trap '' TERM; " + SLEEPER) as stack:
        pids = stack.pids()
        with closing(Redis(unix_socket_path=str(stack.socket))) as redis:
            redis.rpush(QUEUE, *range(105))
        stack.owner.kill()
        stack.owner.wait()
        assert_all_gone(stack, pids, within=1.0)
    with (
        owned(settings, worker=SLEEPER) as stack,
        closing(Redis(unix_socket_path=str(stack.socket))) as redis,
    ):
        assert redis.llen(QUEUE) == 105


@linux_only
def test_a_new_owner_need_not_wait_after_a_kill(settings: Settings) -> None:
    for _ in range(3):
        with owned(settings, worker=SLEEPER) as stack:
            stack.owner.kill()
            stack.owner.wait()


def test_an_error_in_the_block_stops_the_stack_too(settings: Settings) -> None:
    stack = Stack(settings, children=[])
    with pytest.raises(ZeroDivisionError), stack:
        raise ZeroDivisionError
    assert not stack.socket.exists()
    assert running_pid(settings.home) is None


def test_a_request_that_the_block_swallowed_can_be_made_again(settings: Settings) -> None:
    with Stack(settings, children=[]):
        with pytest.raises(Interrupted):
            signal.raise_signal(signal.SIGINT)
        time.sleep(0.6)  # what comes within half a second is taken for the same request
        with pytest.raises(Interrupted):
            signal.raise_signal(signal.SIGTERM)


def test_the_signal_handlers_come_back(settings: Settings) -> None:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    with Stack(settings, children=[]):
        assert [signal.getsignal(number) for number in numbers] != before
    assert [signal.getsignal(number) for number in numbers] == before


# One owner


def test_a_second_owner_is_refused_and_changes_nothing(settings: Settings) -> None:
    with owned(settings, worker=SLEEPER) as stack:
        pids = stack.pids()
        with pytest.raises(StackRunning) as refusal, Stack(settings, children=[]):
            pass
        for said in (f"process {stack.owner.pid} ", str(settings.home), "since 20", "ANNEALQ_HOME", "kill"):
            assert said in str(refusal.value)
        assert running_pid(settings.home) == stack.owner.pid
        assert stack.pids() == pids
        broker.check(settings.broker_url)


@pytest.mark.parametrize("content", ["", "no JSON", '{"pid": 1, "since": "2020-01-01T00:00:00+00:00"}'])
def test_a_lock_file_without_its_lock_means_nothing(settings: Settings, content: str) -> None:
    (settings.home / "stack.lock").write_text(content)
    assert running_pid(settings.home) is None
    with Stack(settings, children=[]):
        assert running_pid(settings.home) == os.getpid()


def test_looking_for_an_owner_never_gets_in_the_way_of_one(settings: Settings) -> None:
    look = (
        "import sys; from pathlib import Path; from producer.stack.lock import read_owner\n"
        "print('looking', flush=True)\n"
        "while True: read_owner(Path(sys.argv[1]))"
    )
    command = [sys.executable, "-c", look, str(settings.home)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watcher:
        assert watcher.stdout is not None
        watcher.stdout.readline()
        for _ in range(5):
            with Stack(settings, children=[]):
                assert running_pid(settings.home) == os.getpid()
        assert watcher.poll() is None
        watcher.kill()


# Supervision


def test_children_are_out_of_the_terminal_s_reach(settings: Settings) -> None:
    with owned(settings, worker=SLEEPER, reconciler=SLEEPER) as stack:
        sessions = {os.getsid(pid) for pid in stack.pids()}
        assert len(sessions) == 3
        assert os.getsid(stack.owner.pid) not in sessions


@pytest.mark.parametrize("busy", [False, True], ids=["waiting", "busy"])
def test_a_killed_child_is_restarted_and_still_ends_well(settings: Settings, busy: bool) -> None:
    with owned(settings, busy=busy, worker=TIDY) as stack:
        first = stack.pid("worker")
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: stack.pid("worker") != first)
        pids = stack.pids()
        stack.owner.send_signal(signal.SIGTERM)
        assert stack.owner.wait(PATIENCE_S) == 143
        # A parent-death signal from a thread that ended early would have killed it instead.
        assert (settings.home / "worker.tidy").exists()
        assert_all_gone(stack, pids, within=0)


@linux_only
def test_a_restarted_child_dies_with_its_owner(settings: Settings) -> None:
    with owned(settings, worker=SLEEPER) as stack:
        first = stack.pid("worker")
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: stack.pid("worker") != first)
        pids = stack.pids()
        stack.owner.kill()
        stack.owner.wait()
        assert_all_gone(stack, pids, within=1.0)


def test_what_a_dead_child_left_behind_is_killed(settings: Settings) -> None:
    with owned(settings, grace=0.1, worker=DEAF) as stack:
        first, left = stack.pid("worker"), read_pid(settings.home / "worker.child")
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: stack.pid("worker") != first)
        assert not is_alive(left)


def test_a_crash_loop_is_reported_with_the_end_of_the_log(settings: Settings) -> None:
    child = Child("worker", ["sh", "-c", "echo out of luck; exit 3"])
    events: list[str] = []
    policy = RestartPolicy(first_delay_s=0.01, longest_delay_s=0.05, deaths=5)
    stack = Stack(settings, children=[child], restart_policy=policy, on_event=events.append)
    with pytest.raises(StackError) as refusal, stack:
        stack.wait()
    message = str(refusal.value)
    assert "worker died more than 5 times within 60 s (at last: exit code 3)" in message
    assert message.endswith("\n".join(["out of luck"] * 6))
    delays = [float(found[1]) for event in events if (found := re.search(r"again in ([\d.]+) s", event))]
    assert len(delays) == 5
    assert running_pid(settings.home) is None


def test_a_command_that_does_not_exist_is_reported(settings: Settings) -> None:
    child = Child("worker", ["/no/such/command"])
    stack = Stack(settings, children=[child], restart_policy=RestartPolicy(first_delay_s=0.01, deaths=1))
    with pytest.raises(StackError, match="/no/such/command"), stack:
        stack.wait()


def test_children_know_where_everything_is(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENBLAS_NUM_THREADS", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    say = 'env > "$ANNEALQ_HOME/new"; mv "$ANNEALQ_HOME/new" "$ANNEALQ_HOME/env"; exec sleep 600'
    with Stack(settings, children=[Child("worker", ["sh", "-c", say], {"OWN": "1"})]):
        wait_until((settings.home / "env").exists)
    told = set((settings.home / "env").read_text().splitlines())
    assert told >= {
        f"ANNEALQ_HOME={settings.home}",
        f"ANNEALQ_DATABASE_URL={settings.database_url}",
        f"ANNEALQ_BROKER_URL={settings.broker_url}",
        "OPENBLAS_NUM_THREADS=1",
        "OMP_WAIT_POLICY=passive",
        "OWN=1",
    }
