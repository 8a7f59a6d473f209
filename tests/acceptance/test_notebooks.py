"""Runs docs/notebooks as Jupyter does, each in a fresh folder with a fresh home, and checks findings."""

from __future__ import annotations

import json
import shlex
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import documents
from tests.acceptance.reader import Reader, write_samples
from tests.documents import NOTEBOOKS

# What holds after the last cell of each, besides that no cell has failed.
_FINDINGS = {
    "energy-head.ipynb": "(network.classify(vectors) == own).all() and accuracies[-1] > 0.9",
    "first-qpu-run.ipynb": "done['accuracy'] > 0.9 and client.run(weak)['statistics']['chain_breaks']['mean']"
    " > done['statistics']['chain_breaks']['mean']",
    "own-pictures.ipynb": "client.run(run)['images'] == 12 and client.run(run)['accuracy'] > 0.5",
    "paper.ipynb": "(scores.argmax(axis=1) == labels).all() and accuracies[-1] > accuracies[0]",
    "what-the-annealer-adds.ipynb": "accuracy['exact minimum'] > 0.9 and all("
    "curve(annealed[each], each)[0] > curve(random_bits[each], each)[0] + 0.3 for each in annealed)",
}
_SLOW = {"first-qpu-run.ipynb", "own-pictures.ipynb", "energy-head.ipynb", "what-the-annealer-adds.ipynb"}
_EXECUTE = "from nbclient.cli import main; main()"


def _marked(path: Path) -> Any:
    slow = [pytest.mark.slow] if path.name in _SLOW else []
    return pytest.param(path, id=path.name, marks=slow)


@pytest.mark.parametrize("path", [_marked(path) for path in NOTEBOOKS])
def test_a_notebook_runs(path: Path, tmp_path: Path, digits: tuple[np.ndarray, np.ndarray]) -> None:
    pytest.importorskip("ipykernel", reason="ipykernel is not installed: `make test` installs it")
    folder = tmp_path / "folder"
    folder.mkdir()
    blocks = documents.blocks(path)
    if blocks:
        write_samples(folder, digits)
    reader = Reader(folder, tmp_path / "home")
    notebook = json.loads(reader.local(path.read_text(encoding="utf-8")))
    last = {"cell_type": "code", "id": "finding", "source": f"assert {_FINDINGS[path.name]}"}
    notebook["cells"].append({**last, "metadata": {}, "outputs": [], "execution_count": None})
    (folder / path.name).write_text(json.dumps(notebook))
    with ExitStack() as processes:
        for block in blocks:
            reader.run(block, processes)
        execute = shlex.join([sys.executable, "-c", _EXECUTE, path.name, "--inplace"])
        reader.shell(documents.Block(path.name, 0, "bash", "", "", execute), execute)
    _check_outputs(json.loads((folder / path.name).read_text()))


def _check_outputs(notebook: dict[str, Any]) -> None:
    """Check that there is a figure, that tables of HTML appear for runs, and that nothing was warned of."""
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", ())]
    kinds = {kind for output in outputs for kind in output.get("data", ())}
    assert "image/png" in kinds
    assert not [output for output in outputs if output.get("name") == "stderr"]
    shows_a_run = any("client.wait(" in source for source in documents.cells(notebook, "code"))
    assert ("text/html" in kinds) == shows_a_run
