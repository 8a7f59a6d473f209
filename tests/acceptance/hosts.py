"""Simulates several hosts on this machine: network namespaces on one bridge, which can be disconnected."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from producer.stack.broker import find_binary
from tests.conftest import ROOT, _postgresql_binaries

NOBODY = 65_534  # PostgreSQL refuses to run as root


@dataclass
class Host:
    """A namespace with one cable to the bridge. log: what its processes write."""

    name: str
    address: str
    cable: str  # the bridge's end of it
    log: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def within(self) -> list[str]:
        """What a command is preceded by, to run there."""
        return ["ip", "netns", "exec", self.name]

    def start(
        self, command: Sequence[str], env: Mapping[str, str] | None = None, *, user: int | None = None
    ) -> subprocess.Popen[bytes]:
        """Run a command there, until the network is taken down."""
        as_user = [] if user is None else ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [*self.within, *as_user, *command],
                cwd=ROOT if user is None else "/",
                env={**os.environ, **(env or {})},
                stdout=log,
                stderr=log,
            )
        self.processes.append(process)
        return process

    def pull_cable(self) -> None:
        ip("link", "set", self.cable, "down")

    def plug_in(self) -> None:
        ip("link", "set", self.cable, "up")


@contextmanager
def network(folder: Path, names: Sequence[str]) -> Iterator[dict[str, Host]]:
    """Hosts by name, on a network of their own that this process is on, too."""
    if sys.platform != "linux" or os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need Linux, root and iproute2")
    tag = uuid.uuid4().hex[:6]
    bridge = f"aq{tag}"
    net = f"10.{random.randrange(64, 128)}.{random.randrange(256)}"  # apart from those of other tests
    hosts: dict[str, Host] = {}
    made = subprocess.run(["ip", "link", "add", bridge, "type", "bridge"], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("this machine lets nobody make a bridge")
    try:
        ip("addr", "add", f"{net}.1/24", "dev", bridge)
        ip("link", "set", bridge, "up")
        for number, name in enumerate(names, 2):
            host = Host(f"aq{tag}-{name}", f"{net}.{number}", f"aq{tag}{number}", folder / f"{name}.log")
            ip("netns", "add", host.name)
            hosts[name] = host
            ip("link", "add", host.cable, "type", "veth", "peer", "name", "eth0", "netns", host.name)
            ip("link", "set", host.cable, "master", bridge, "up")
            ip("-n", host.name, "addr", "add", f"{host.address}/24", "dev", "eth0")
            ip("-n", host.name, "link", "set", "eth0", "up")
            ip("-n", host.name, "link", "set", "lo", "up")
        yield hosts
    finally:
        _take_down(hosts.values(), bridge)


def _take_down(hosts: Iterable[Host], bridge: str) -> None:
    for host in hosts:
        for process in reversed(host.processes):
            process.kill()
            process.wait(10)
        # What was started by them.
        left = subprocess.run(["ip", "netns", "pids", host.name], capture_output=True, text=True, check=False)
        for pid in left.stdout.split():
            subprocess.run(["kill", "-9", pid], check=False, capture_output=True)
        ip("link", "del", host.cable)
        ip("netns", "del", host.name)
    ip("link", "del", bridge)


def ip(*words: str) -> None:
    """`ip`; fails with what it says."""
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"


@contextmanager
def postgresql_on(host: Host, fsync: str = "off") -> Iterator[str]:
    """A PostgreSQL server on a host, which lets in whoever is on its network; yields the URL."""
    binaries = _postgresql_binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL on this machine")
    folder = Path(tempfile.mkdtemp(prefix="annealq-pg-"))
    server = None
    try:
        os.chown(folder, NOBODY, NOBODY)
        data = folder / "data"
        made = [str(binaries / "initdb"), "-D", str(data), "-U", "postgres", "-A", "trust", "--no-sync"]
        subprocess.run(made, user=NOBODY, group=NOBODY, check=True, capture_output=True, cwd="/")
        with (data / "pg_hba.conf").open("a") as rules:
            rules.write(f"host all all {host.address}/24 trust\n")
        options = ("-c", f"listen_addresses={host.address}", "-c", f"fsync={fsync}", "-k", str(folder))
        server = host.start([str(binaries / "postgres"), "-D", str(data), *options], user=NOBODY)
        yield f"postgresql+psycopg://postgres@{host.address}/postgres"
    finally:
        if server is not None:
            server.send_signal(signal.SIGINT)  # fast: connections are dropped
            server.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


def broker_on(host: Host) -> str:
    """A broker on a host; returns its URL."""
    options = ["--bind", host.address, "--protected-mode", "no", "--save", "", "--dir", str(host.log.parent)]
    host.start([str(find_binary()), "--port", "6379", *options])
    return f"redis://{host.address}:6379/0"
