"""docs/notebooks: files of nbformat 4.5 without outputs, which use the public package and no magics."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

from tests import documents
from tests.documents import NOTEBOOKS

_PRIVATE = {"producer", "worker", "schema", "migrations", "tests"}
_METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.name)
def notebook(request: pytest.FixtureRequest) -> dict[str, Any]:
    path: Path = request.param
    read: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return read


def test_there_are_notebooks() -> None:
    assert NOTEBOOKS


def test_a_notebook_fits_its_schema_and_has_no_outputs(notebook: dict[str, Any]) -> None:
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed: `make test` installs it")
    nbformat.validate(notebook)
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert notebook["metadata"] == _METADATA
    cells = notebook["cells"]
    assert [cell["id"] for cell in cells] == [f"cell-{k:02}" for k in range(1, len(cells) + 1)]
    for cell in cells:
        assert not cell["metadata"], cell["id"]
        assert not cell.get("outputs"), f"clear the outputs of {cell['id']}"
        assert cell.get("execution_count") is None, cell["id"]


def test_a_notebook_begins_with_its_purpose_and_ends_with_what_to_try(notebook: dict[str, Any]) -> None:
    first, last = (documents.cells({"cells": [notebook["cells"][k]]}, "markdown") for k in (0, -1))
    assert first
    assert first[0].startswith("# ")
    assert last
    assert last[0].startswith("## What to try next\n")


def test_a_notebook_uses_the_public_package_and_no_magics(notebook: dict[str, Any]) -> None:
    imported = set()
    for source in documents.cells(notebook, "code"):
        for node in ast.walk(ast.parse(source)):  # a magic is a syntax error
            if isinstance(node, ast.Import):
                imported |= {name.name.partition(".")[0] for name in node.names}
            if isinstance(node, ast.ImportFrom):
                imported.add(str(node.module))
    assert "annealq" in imported
    assert not {name for name in imported if name.startswith("annealq.")}, "import names of `annealq` itself"
    assert not {name.partition(".")[0] for name in imported} & _PRIVATE
