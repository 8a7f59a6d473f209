"""The client as a package of its own: built, installed into a fresh environment, used with a live server."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
import venv
from importlib.metadata import Distribution, distribution
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement

from producer.client import Client
from producer.networks.chosen import ChosenNetwork
from schema.messages import Message, Task
from tests import PATIENCE_S
from tests.conftest import ROOT
from tests.integration.conftest import some_images, work_off
from worker.context import Context

_FOLDER = ROOT / "producer" / "client"

# What is imported, what it costs, and the example of the documentation.
_PROGRAM = """
import sys, time

before, start = set(sys.modules), time.process_time()
import annealq_client
cost_s, loaded = time.process_time() - start, sorted(set(sys.modules) - before)

import doctest, json
import numpy as np
from annealq_client import clients

address, file = sys.argv[1:]
data = np.load(file, allow_pickle=False)
given = {"url": address, "images": data["images"], "labels": data["labels"]}
failed, attempted = doctest.testmod(clients, extraglobs=given)
with annealq_client.Client(address) as annealq:
    (run,) = annealq.runs()
    arrays = annealq.result_arrays(run.id)
    shown = annealq.wait(run.id)
print(json.dumps({
    "failed": failed, "attempted": attempted, "cost_s": cost_s, "loaded": loaded, "images": len(arrays.index),
    "accuracies": [arrays.accuracy, shown["accuracy"]], "place": annealq_client.__file__,
}))
"""


def needed(name: str, found: dict[str, Distribution]) -> dict[str, Distribution]:
    """Return the distribution ``name`` and all that it needs, as they are installed here."""
    if name not in found:
        found[name] = distribution(name)
        for text in found[name].requires or ():
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                needed(requirement.name, found)
    return found


def link(part: Distribution, folder: Path) -> None:
    """Make an installed distribution importable from ``folder``, without copying it."""
    names = {Path(file).parts[0] for file in part.files or () if not str(file).startswith("..")}
    for name in names - {"__pycache__"}:
        (folder / name).symlink_to(Path(str(part.locate_file(name))))


@pytest.fixture
def database_url(_sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """One database: what a client sees is the same with each."""
    return f"sqlite:///{shutil.copy(_sqlite_template, tmp_path_factory.mktemp('database') / 'annealq.db')}"


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    if find_spec("hatchling") is None:
        pytest.skip("hatchling is not installed: `make test` installs it")
    folder = tmp_path / "wheel"
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--no-index", "--wheel-dir", folder, _FOLDER], check=True, timeout=PATIENCE_S)
    (built,) = folder.glob("annealq_client-*.whl")
    return built


def test_it_installs_alone_and_classifies(
    wheel: Path, address: str, context: Context, working: ChosenNetwork, tmp_path: Path
) -> None:
    images = some_images(100)
    np.savez(tmp_path / "images.npz", images=images.images, labels=images.labels)
    venv.create(tmp_path / "alone", with_pip=False)
    python = tmp_path / "alone" / "bin" / "python"
    (site,) = (tmp_path / "alone" / "lib").glob("*/site-packages")
    command = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
    ]
    subprocess.run([*command, wheel], check=True, timeout=PATIENCE_S)
    (package,) = site.glob("annealq_client-*.dist-info")
    requirements = [
        requirement.name
        for text in Distribution.at(package).requires or ()
        if (requirement := Requirement(text)).marker is None
    ]
    assert requirements == ["httpx", "numpy"]
    libraries: dict[str, Distribution] = {}
    for name in requirements:
        needed(name, libraries)
    assert not libraries.keys() & {"sqlalchemy", "pydantic", "torch"}
    for part in libraries.values():
        link(part, site)
    program = [python, "-I", "-c", _PROGRAM, address, tmp_path / "images.npz"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    started = subprocess.Popen(program, **pipes, text=True, cwd=tmp_path)
    with Client(address) as annealq:
        while started.poll() is None and not list(annealq.runs()):
            time.sleep(0.05)
    work_off(context, Message(Task.DISPATCH))
    output, _ = started.communicate(timeout=PATIENCE_S)
    assert started.returncode == 0, output
    said = json.loads(output.splitlines()[-1])
    assert Path(said["place"]).is_relative_to(site)
    assert (said["failed"], said["images"]) == (0, 100), output
    assert said["attempted"] > 0
    assert said["accuracies"][0] == said["accuracies"][1]
    # Libraries that take long to import are imported when the first client is made.
    assert not {"httpx", "numpy", "anyio"} & set(said["loaded"])


def test_the_documentation_lists_what_is_public() -> None:
    text = (ROOT / "docs" / "client.md").read_text()
    methods = {name for name in vars(Client) if not name.startswith("_")} - {"close"}
    assert methods == methods & set(re.findall(r"\b\w+\b", text))
