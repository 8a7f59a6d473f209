"""What monitoring reads from a stack: the workers' metrics and log lines."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.acceptance.conftest import running_stack, show, wait_for
from tests.conftest import annealq_process

RUN = ("classify", "digits", "--limit", "24", "--network", "digits", "--solver", "emulator", "--visible")
OPTIONS = ("folded", "--tiles", "8", "--reads", "50", "--batch-size", "12", "--json")


def figures(address: str) -> dict[str, float]:
    """Samples by name, with the value of their label after a colon where there is one."""
    answer = httpx.get(f"{address}/metrics", trust_env=False)
    return {
        ":".join((sample.name, *sample.labels.values())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def lines(log: Path) -> list[dict[str, Any]]:
    """The JSON lines of a log."""
    return [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]


def check_log(log: Path, run: int, problems: int) -> None:
    """Every line about work has the ids of its run and batch, and of its problem where it is of one."""
    by_event: dict[str, list[dict[str, Any]]] = {}
    for line in lines(log):
        by_event.setdefault(line["event"], []).append(line)
    for event, count in {"batch sampled": 2, "batch scored": 2, "run finished": 1}.items():
        assert [line["run"] for line in by_event[event]] == [run] * count
    batches = {line["batch"] for line in by_event["batch sampled"]}
    assert {line["batch"] for line in by_event["batch scored"]} == batches
    assert len(batches) == 2
    for event in ("problems sent", "problems answered"):
        of_problems = by_event[event]
        ids = [pair for line in of_problems for pair in line["problems"].items()]
        assert len({problem for problem, _ in ids}) == len(ids) == problems
        assert all(sapi_id for _, sapi_id in ids)
        assert {line["run"] for line in of_problems} == {run}
        assert {line["batch"] for line in of_problems} == batches
    assert "batch" not in by_event["run finished"][0]  # nothing of an earlier task is left
    ends = [line for event, of_event in by_event.items() if " succeeded in " in event for line in of_event]
    assert {line["batch"] for line in ends if "sample_batch" in line["event"]} >= batches


@pytest.mark.slow
def test_workers_tell_what_they_do(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANNEALQ_WORKER_METRICS_PORT", "0")
    monkeypatch.setenv("ANNEALQ_LOG", "json")
    log = home / "logs" / "worker.log"
    with running_stack(home, "--workers", "2", "--emulator"):
        wait_for(lambda: log.exists() and "metrics are served" in log.read_text(), "the figures", 60)
        served = next(line for line in lines(log) if line["event"] == "metrics are served")
        assert served["host"] == "127.0.0.1"
        done = annealq_process(*RUN, *OPTIONS, timeout=200)
        assert done.returncode == 0, done.stderr
        run = show(json.loads(done.stdout)["run_id"])
        found = figures(f"http://127.0.0.1:{served['port']}")
    check_log(log, run["run_id"], problems=4)
    assert found["annealq_worker_batches_total:sampled"] == 2
    assert found["annealq_worker_batches_total:scored"] == 2
    assert found["annealq_worker_batches_total:failed"] == 0
    assert found["annealq_worker_problems_total:answered"] == run["statistics"]["problems_sent"] == 4
    for step in ("build", "prepare", "wait", "decode"):
        # More, where a busy machine kept a worker from renewing its lease.
        assert found[f"annealq_worker_step_seconds_count:{step}"] >= 2
        assert found[f"annealq_worker_step_seconds_sum:{step}"] > 0
    assert found["annealq_worker_step_seconds_count:draw"] == 0
    assert found["annealq_worker_chain_break_ratio_count"] == 2
    if os.name == "posix" and Path("/proc/self/statm").exists():
        assert found["annealq_worker_processes"] >= 2
        assert found["annealq_worker_resident_bytes"] > 50e6
