"""Metrics for Prometheus, and the dashboard: every metric that a panel queries exists."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from functools import cache

from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import ROOT
from tests.serving import client, serving

DASHBOARD = ROOT / "producer" / "dashboard" / "grafana.json"

# As in a worker: the parent makes the folder, the processes of its pool count, the parent adds up.
WORKER = """
import multiprocessing, os, urllib.request
from worker.process import prometheus
from worker.process.meter import ProblemOutcome, BatchOutcome, Step
from schema.settings import load_worker

prometheus.prepare()

def count():
    meter = prometheus.meter(load_worker())
    for outcome in BatchOutcome:
        meter.batch(outcome)
    meter.problem(ProblemOutcome.ANSWERED)
    meter.chain_breaks(0.25)
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
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=60
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
    assert found["annealq_worker_chain_break_fraction_sum"] == 0.75
    assert found["annealq_worker_step_seconds_count:wait"] == 3
    if sys.platform == "linux":
        assert found["annealq_worker_resident_bytes"] > 1e6


def test_every_figure_of_the_dashboard_is_exported_and_every_one_is_shown(database_url: str) -> None:
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    wanted = {name for expr in asked for name in re.findall(r"\bannealq_\w+", expr)}
    with serving(database_url) as address, client(address) as http:
        exported = names(http.get("/metrics").text) | names(of_a_worker())
    if sys.platform != "linux":
        exported |= {"annealq_worker_processes", "annealq_worker_resident_bytes"}
    assert wanted <= exported
    families = {name for name in exported if not name.endswith(("_total", "_created", "_sum", "_count"))}
    shown = {re.sub(r"_(total|sum|count)$", "", name) for name in wanted}
    assert {name for name in families if name.startswith("annealq_")} == shown


def test_panels_do_not_cover_each_other() -> None:
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    places = [(one["gridPos"]["x"], one["gridPos"]["y"]) for one in panels]
    assert len(set(places)) == len(panels) == len({one["id"] for one in panels})
    assert all(one["title"] and one["targets"] for one in panels)
