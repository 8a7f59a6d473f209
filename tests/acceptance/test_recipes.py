"""The recipes of docs/recipes.md: their commands, workflow and receiver are taken from the page and run."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import numpy as np
import pytest
import yaml
from standardwebhooks.webhooks import Webhook

from tests.acceptance.conftest import QUICK
from tests.documents import ROOT, blocks
from tests.receivers import receiving

PAGE = ROOT / "docs" / "recipes.md"
FILES = {block.value: block.text for block in blocks(PAGE) if block.directive == "file"}
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
READS = ("--reads", "20", "--embedded")


@pytest.fixture
def folder(trained_home: Path, digits_file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with 40 digits, and a home with a trained network that commands of `annealq` use."""
    home = tmp_path / "home"
    shutil.copytree(trained_home, home)
    work = tmp_path / "work"
    work.mkdir()
    with np.load(digits_file) as all_digits:
        np.savez(work / "digits.npz", images=all_digits["images"][:40], labels=all_digits["labels"][:40])
    for name, value in {**QUICK, "ANNEALQ_HOME": str(home), "GITHUB_SHA": "0123abcd"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    monkeypatch.chdir(work)
    return work


def module(folder: Path, name: str) -> ModuleType:
    path = folder / name
    path.write_text(FILES[name])
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def shell(command: str, folder: Path) -> None:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"


def runs(folder: Path) -> list[dict[str, Any]]:
    shell("annealq runs list --json > runs.json", folder)
    return json.loads((folder / "runs.json").read_text())


@pytest.mark.slow
def test_a_task_with_the_same_key_is_the_same_run_and_wrong_input_is_not_repeated(folder: Path) -> None:
    task = module(folder, "annealq_task.py")
    first = task.classify("digits.npz", "monday", *READS)
    assert (first["state"], first["images"]) == ("done", 40)
    again = task.classify("digits.npz", "monday", *READS)
    assert (again["run_id"], again["finished_at"]) == (first["run_id"], first["finished_at"])
    assert len(runs(folder)) == 1
    for data, options in (("missing.npz", READS), ("digits.npz", ("--reads", "0"))):
        with pytest.raises(task.WrongInput):
            task.classify(data, "tuesday", *options)
    with pytest.raises(task.WrongInput, match="monday"):  # the same key with other content
        task.classify("digits.npz", "monday", "--reads", "30", "--embedded")
    assert len(runs(folder)) == 1


@pytest.mark.slow
def test_the_stage_of_dvc_runs_and_repeats_its_run(folder: Path) -> None:
    stage = yaml.safe_load(FILES["dvc.yaml"])["stages"]["classify"]
    for _ in range(2):
        for command in stage["cmd"]:
            shell(command, folder)
    assert (folder / stage["deps"][0]).exists()
    assert all((folder / out).exists() for out in stage["outs"])
    (metrics,) = (next(iter(each)) for each in stage["metrics"])
    assert json.loads((folder / metrics).read_text())["accuracy"] > 0.5
    assert len(runs(folder)) == 1


@pytest.mark.slow
def test_the_workflow_runs_up_to_its_report(folder: Path) -> None:
    workflow = yaml.safe_load(FILES[".github/workflows/classify.yml"])
    steps = workflow["jobs"]["classify"]["steps"]
    commands = [step["run"] for step in steps if "run" in step]
    assert commands[0].startswith("pip install")
    for command in commands[1:]:
        shell(command, folder)
    (uploaded,) = (step["with"]["path"] for step in steps if "upload-artifact" in step.get("uses", ""))
    assert "<html" in (folder / uploaded).read_text()


@contextmanager
def forwarding(folder: Path, slack_url: str) -> Iterator[str]:
    """Run the program that stands between annealq and Slack; yield its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "slack.py").write_text(FILES["slack.py"])
    environment = {**os.environ, "SECRET": SECRET, "SLACK_URL": slack_url, "PORT": str(port)}
    process = subprocess.Popen(
        [sys.executable, "slack.py"], cwd=folder, env=environment, stderr=subprocess.DEVNULL
    )
    try:
        while True:
            assert process.poll() is None
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/"
    finally:
        process.kill()
        process.wait()


def test_a_message_reaches_slack_once_and_a_forged_one_does_not(tmp_path: Path) -> None:
    body = json.dumps(
        {
            "type": "run.done",
            "timestamp": "2026-11-30T10:00:00+00:00",
            "data": {"run_id": 7, "name": "digits", "accuracy": 0.975, "error": None},
        }
    )

    def headers(number: str) -> dict[str, str]:
        now = datetime.now(UTC)
        signature = Webhook(SECRET).sign(number, now, body)
        return {
            "webhook-id": number,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": signature,
        }

    with receiving() as slack, forwarding(tmp_path, slack.url) as address:
        forged = {**headers("msg_1"), "webhook-signature": "v1,AAAA"}
        assert httpx.post(address, content=body, headers=forged).status_code == 401
        for _ in range(2):
            assert httpx.post(address, content=body, headers=headers("msg_1")).status_code == 204
        _, said = slack.next()
        assert json.loads(said) == {"text": "run 7 (digits): done, accuracy 97.5%"}
        slack.statuses.append(500)
        with pytest.raises(httpx.HTTPError):  # no answer: annealq sends it again
            httpx.post(address, content=body, headers=headers("msg_2"))
        assert httpx.post(address, content=body, headers=headers("msg_2")).status_code == 204
        assert [slack.next()[1], slack.next()[1]] == [said, said]
        assert slack.came.empty()
