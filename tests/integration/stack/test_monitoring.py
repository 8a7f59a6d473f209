"""Metrics for Prometheus, the dashboard and the alerts: every metric that they query exists."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests import PATIENCE_S, documents
from tests.conftest import ROOT
from tests.serving import client, serving

DASHBOARD = ROOT / "producer" / "dashboard" / "grafana.json"
ALERTS = ROOT / "producer" / "dashboard" / "alerts.yml"
ALERT_TESTS = Path(__file__).parent / "alerts_test.yml"

# As in a worker: the parent makes the folder, the processes of its pool count, the parent adds up.
WORKER = """
import multiprocessing, os, urllib.request
from worker.process import prometheus
from worker.process.meter import ProblemOutcome, BatchOutcome, Step, Wait
from schema.settings import load_worker

prometheus.prepare()

def count():
    meter = prometheus.meter(load_worker())
    for outcome in BatchOutcome:
        meter.batch(outcome)
    meter.problem(ProblemOutcome.ANSWERED)
    meter.chain_breaks(0.25)
    for wait in Wait:
        meter.waited(wait, 2.0)
    with meter.timed(Step.WAIT):
        pass

fork = multiprocessing.get_context("fork")
pool = [fork.Process(target=count) for _ in range(3)]
for process in pool:
    process.start()
for process in pool:
    process.join()
    assert process.exitcode == 0
port = prometheus.serve("127.0.0.1", 0)
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
print(opener.open(f"http://127.0.0.1:{port}/metrics").read().decode())
folder = os.environ["PROMETHEUS_MULTIPROC_DIR"]
assert os.stat(folder).st_mode & 0o777 == 0o700
prometheus.remove()
assert not os.path.exists(folder)
"""


@cache
def of_a_worker() -> str:
    """What a worker exports whose pool has done a little."""
    environment = {**os.environ, "ANNEALQ_WORKER_METRICS_PORT": "0"}
    environment.pop("PROMETHEUS_MULTIPROC_DIR", None)
    command = [sys.executable, "-c", WORKER]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE_S
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def names(text: str) -> set[str]:
    """Families and samples of what is exported."""
    families = list(text_string_to_metric_families(text))
    return {sample.name for family in families for sample in family.samples} | {one.name for one in families}


def test_the_parent_adds_up_what_its_pool_has_counted() -> None:
    families = text_string_to_metric_families(of_a_worker())
    found = {":".join((s.name, *s.labels.values())): s.value for f in families for s in f.samples}
    assert found["annealq_worker_batches_total:scored"] == 3
    assert found["annealq_worker_problems_total:answered"] == 3
    assert found["annealq_worker_problems_total:failed"] == 0
    assert found["annealq_worker_chain_break_ratio_sum"] == 0.75
    assert found["annealq_worker_queue_wait_seconds_sum"] == 6
    assert found["annealq_worker_batch_latency_seconds_bucket:3.0"] == 3
    assert found["annealq_worker_step_seconds_count:wait"] == 3
    if sys.platform == "linux":
        assert found["annealq_worker_resident_bytes"] > 1e6
        assert found["annealq_worker_cpu_seconds_total"] > 0
    assert "annealq_build_info:worker" in {name.rpartition(":")[0].rpartition(":")[0] for name in found}


@pytest.fixture
def exported(database_url: str) -> set[str]:
    """Return the names of what the API and a worker export, with all that this system could tell."""
    with serving(database_url) as address, client(address) as http:
        http.get("/healthz")
        found = names(http.get("/metrics").text) | names(of_a_worker())
    if sys.platform != "linux":
        found |= {f"annealq_worker_{name}" for name in ("processes", "resident_bytes", "cpu_seconds_total")}
        found |= {
            f"process_{name}"
            for name in ("resident_memory_bytes", "cpu_seconds_total", "open_fds", "max_fds")
        }
    return found


def queried(expression: str) -> set[str]:
    return set(re.findall(r"\b(?:annealq|process)_\w+", re.sub(r"\{[^}]*\}", "", expression)))


def test_every_figure_of_the_dashboard_is_exported_and_every_one_is_shown(exported: set[str]) -> None:
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    wanted = {name for expr in asked for name in queried(expr)}
    assert wanted <= exported
    suffix = r"_(total|sum|count|bucket|created|info)$"
    shown = {re.sub(suffix, "", name) for name in wanted}
    assert {re.sub(suffix, "", name) for name in exported if name.startswith("annealq_")} - shown == set()


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def test_every_metric_of_an_alert_is_exported_and_its_advice_can_be_followed(exported: set[str]) -> None:
    for rule in rules():
        assert queried(rule["expr"]) <= exported, rule["alert"]
        for text in rule["annotations"].values():
            for command in re.findall(r"`(annealq [^`]+)`", text):
                documents.check_mention(re.sub(r" [A-Z]+\b", "", command).split())


def test_every_alert_is_tested_to_fire_and_not_to_fire() -> None:
    tests = yaml.safe_load(ALERT_TESTS.read_text(encoding="utf-8"))["tests"]
    cases = {
        (case["alertname"], bool(case["exp_alerts"])) for test in tests for case in test["alert_rule_test"]
    }
    assert cases == {(rule["alert"], fires) for rule in rules() for fires in (True, False)}


def test_alerts_fire_when_they_should(tmp_path: Path) -> None:
    if (promtool := shutil.which("promtool")) is None:
        pytest.skip("promtool is not installed: it comes with Prometheus")
    for file in (ALERTS, ALERT_TESTS):
        shutil.copy(file, tmp_path)
    for command in (("check", "rules", ALERTS.name), ("test", "rules", ALERT_TESTS.name)):
        done = subprocess.run([promtool, *command], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_names_follow_the_conventions_of_prometheus(exported: set[str]) -> None:
    ours = {name for name in exported if name.startswith("annealq_")}
    assert not [
        name for name in ours if re.search(r"micro|milli|_(us|ms|s|fraction|percent|minutes|mb)(_|$)", name)
    ]


def test_panels_do_not_cover_each_other() -> None:
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    places = [(one["gridPos"]["x"], one["gridPos"]["y"]) for one in panels]
    assert len(set(places)) == len(panels) == len({one["id"] for one in panels})
    assert all(one["title"] and one["targets"] for one in panels)
