"""Runs docker-compose.yml without Docker: each service's command as a plain process, until a run is done."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import yaml

from producer.stack.broker import find_binary
from tests import PATIENCE_S
from tests.conftest import ROOT, administer, named

pytest.importorskip("torch", reason="a worker needs the worker extra")

HEALTHY_S = PATIENCE_S


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Host:
    """This machine in the role of the composed hosts: names become addresses, volumes become folders."""

    def __init__(self, folder: Path, database_url: str) -> None:
        self.folder = folder
        self.broker, self.emulator, self.api = free_port(), free_port(), free_port()
        self.replaced = {
            "postgresql+psycopg://annealq:secret@postgres/annealq": database_url,
            "redis://broker:6379": f"redis://127.0.0.1:{self.broker}",
            "http://emulator:8477": f"http://127.0.0.1:{self.emulator}",
            "http://127.0.0.1:8477": f"http://127.0.0.1:{self.emulator}",
            "http://127.0.0.1:8000": f"http://127.0.0.1:{self.api}",
            "/var/lib/annealq": str(folder),
        }

    def text(self, text: str) -> str:
        """Variables filled in, as Compose does, then names replaced."""
        filled = re.sub(r"\$\{POSTGRES_PASSWORD:\?[^}]*\}", "secret", text)
        filled = re.sub(r"\$\{(\w+):-([^}]*)\}", lambda found: os.environ.get(found[1], found[2]), filled)
        assert "${" not in filled, f"{text} has a variable that nobody sets"
        for name, value in self.replaced.items():
            filled = filled.replace(name, value)
        ports = {"8477": str(self.emulator), "8000": str(self.api)}
        return ports.get(filled, filled)

    def env(self, service: Mapping[str, Any]) -> dict[str, str]:
        own = {name: self.text(str(value)) for name, value in service.get("environment", {}).items()}
        return {**os.environ, **own, "ANNEALQ_HOME": str(self.folder)}

    def command(self, words: list[str]) -> list[str]:
        filled = [self.text(str(word)) for word in words]
        match filled[0]:
            case "annealq":
                return [sys.executable, "-m", "producer.cli", *filled[1:]]
            case "python":
                return [sys.executable, *filled[1:]]
            case "valkey-server":
                at = ["--port", str(self.broker), "--bind", "127.0.0.1", "--dir", str(self.folder)]
                return [str(find_binary()), *filled[1:], *at]
            case _:
                return [sys.executable, "-m", "producer.cli", *filled]


@pytest.fixture
def host(tmp_path: Path, postgresql: str) -> Iterator[Host]:
    name = f"annealq_{uuid.uuid4().hex[:12]}"
    administer(postgresql, f"CREATE DATABASE {name}")
    yield Host(tmp_path, named(postgresql, name))
    administer(postgresql, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def started() -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """Processes by service, stopped at the end in the other order."""
    running: dict[str, subprocess.Popen[bytes]] = {}
    yield running
    for process in reversed(running.values()):
        process.terminate()
    for process in running.values():
        try:
            process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()


def wait_until_healthy(service: Mapping[str, Any], host: Host, process: subprocess.Popen[bytes]) -> None:
    words = service["healthcheck"]["test"]
    assert words[0] == "CMD"
    if shutil.which(words[1]) is None and words[1] not in ("annealq", "python"):
        return  # the client is in the server's image only
    deadline = time.monotonic() + HEALTHY_S
    while True:
        asked = subprocess.run(
            host.command(words[1:]), env=host.env(service), capture_output=True, check=False
        )
        if asked.returncode == 0:
            return
        assert process.poll() is None, f"{words} cannot succeed: its process has ended"
        assert time.monotonic() < deadline, asked.stderr.decode()


@pytest.mark.parametrize("solver", ["local", pytest.param("emulator", marks=pytest.mark.slow)])
def test_the_services_classify(
    compose: dict[str, Any], host: Host, started: dict[str, subprocess.Popen[bytes]], solver: str
) -> None:
    services = compose["services"]
    names = ["broker", "worker", "reconciler", "api", *(["emulator"] if solver == "emulator" else [])]
    started["broker"] = subprocess.Popen(
        host.command(services["broker"]["command"]), stdout=subprocess.DEVNULL
    )
    migrated = subprocess.run(
        host.command(services["migrate"]["command"]), env=host.env(services["migrate"]), check=False
    )
    assert migrated.returncode == 0
    added = subprocess.run(
        host.command(["keys", "add", "me"]), env=host.env(services["cli"]), capture_output=True, check=False
    )
    assert added.returncode == 0, added.stderr.decode()
    for name in names[1:]:
        service = services[name]
        started[name] = subprocess.Popen(host.command(service["command"]), env=host.env(service))
    for name in names[1:]:
        wait_until_healthy(services[name], host, started[name])
    done = subprocess.run(
        host.command(["classify", "digits", "--limit", "100", "--solver", solver, "--reads", "20", "--json"]),
        env=host.env(services["cli"]),
        capture_output=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr.decode()
    run = json.loads(done.stdout)
    assert (run["state"], run["images"]) == ("done", 100)
    assert run["accuracy"] > 0.9
    for name, process in started.items():
        assert process.poll() is None, f"{name} has ended"


def test_a_health_check_fails_where_nothing_runs(
    compose: dict[str, Any], host: Host, started: dict[str, subprocess.Popen[bytes]]
) -> None:
    services = compose["services"]
    started["broker"] = subprocess.Popen(
        host.command(services["broker"]["command"]), stdout=subprocess.DEVNULL
    )
    migrate = services["migrate"]
    subprocess.run(host.command(migrate["command"]), env=host.env(migrate), check=True)
    for name, says in (("worker", "annealq worker"), ("reconciler", "annealq reconciler")):
        words = services[name]["healthcheck"]["test"][1:]
        asked = subprocess.run(
            host.command(words), env=host.env(services[name]), capture_output=True, text=True, check=False
        )
        assert asked.returncode == 1
        assert says in asked.stderr


def test_every_service_waits_for_what_it_needs(compose: dict[str, Any]) -> None:
    services = compose["services"]
    for name in ("worker", "reconciler", "api", "schedules", "cli"):
        needs = services[name]["depends_on"]
        assert needs["migrate"]["condition"] == "service_completed_successfully"
        assert needs["broker"]["condition"] == "service_healthy"
    for name, service in services.items():
        if service.get("image") == "annealq":
            assert service["read_only"], name
            assert service["cap_drop"] == ["ALL"], name
    volumes = [volume for service in services.values() for volume in service.get("volumes", [])]
    mounted = {volume.split(":")[0] for volume in volumes if not volume.startswith("$")}
    assert mounted == set(compose["volumes"])


def test_the_image_has_what_the_packages_are(compose: dict[str, Any]) -> None:
    """The build's context lets in what the Dockerfile copies, and the user is not root."""
    allowed = {
        line.removeprefix("!")
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    recipe = (ROOT / "Dockerfile").read_text()
    copied = {word for line in re.findall(r"^COPY (.+)$", recipe, re.MULTILINE) for word in line.split()[:-1]}
    assert copied == allowed
    assert all((ROOT / name).exists() for name in copied)
    assert re.findall(r"^USER (.+)$", recipe, re.MULTILINE) == ["annealq"]
    assert compose["services"]["worker"]["build"] == "."


def test_what_monitors_asks_services_that_are_there(compose: dict[str, Any], host: Host) -> None:
    services, configs = compose["services"], compose["configs"]
    used = {one["source"] for service in services.values() for one in service.get("configs", [])}
    assert used == set(configs)
    assert (ROOT / configs["grafana-dashboard"]["file"]).is_file()
    texts = {
        name: yaml.safe_load(host.text(one["content"])) for name, one in configs.items() if "content" in one
    }
    mounted = {one["target"]: one["source"] for one in services["prometheus"]["configs"]}
    (rules,) = texts["prometheus"]["rule_files"]
    assert (ROOT / configs[mounted[rules]]["file"]).is_file()
    api, workers = texts["prometheus"]["scrape_configs"]
    names = yaml.safe_load((ROOT / configs[mounted[rules]]["file"]).read_text())
    jobs = set(re.findall(r'job="([^"]+)"', str(names)))
    assert jobs <= {api["job_name"], workers["job_name"]}
    ((target,),) = [one["targets"] for one in api["static_configs"]]
    name, port = target.split(":")
    assert port in services[name]["command"]
    ((found,),) = [workers["dns_sd_configs"]]
    (name,) = found["names"]
    assert ip_address(services[name]["environment"]["ANNEALQ_WORKER_METRICS_HOST"]).is_unspecified
    # The port that the compose file's header has one choose.
    assert f"WORKER_METRICS_PORT={found['port']}" in (ROOT / "docker-compose.yml").read_text()
    (source,) = texts["grafana-source"]["datasources"]
    assert source["url"].split("//")[1].split(":")[0] in services
    (folder,) = texts["grafana-folder"]["providers"]
    mounted = [one["target"] for one in services["grafana"]["configs"]]
    assert f"{folder['options']['path']}/grafana.json" in mounted
