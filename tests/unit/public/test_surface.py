"""The public package: its names and signatures, what importing it costs, and what it says without torch."""

from __future__ import annotations

import ast
import inspect
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, get_type_hints, is_typeddict

import pytest

import annealq
from tests.conftest import ROOT

_PINNED = Path(__file__).with_name("surface.txt")
_PACKAGE = ROOT / "producer" / "public" / "annealq"

# Imports the package, and prints what was loaded.
_IMPORT = """
import sys
before = set(sys.modules)
import annealq
print(*sorted({name.partition(".")[0] for name in set(sys.modules) - before}))
"""
# As if torch were not installed.
_WITHOUT_TORCH = """
import sys
from importlib.machinery import PathFinder

class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] == "torch" else super().find_spec(name, path, target)

sys.meta_path[:] = [Without if each is PathFinder else each for each in sys.meta_path]
from annealq import Client, MissingExtra, ParameterError, Queue
try:
    from annealq import NAME
except MissingExtra as error:
    print(error)
"""


def surface() -> str:
    """Return every public name with its kind, methods and parameters, as text."""
    lines: list[str] = []
    for name in sorted(annealq.__all__):
        value = getattr(annealq, name)
        if not isinstance(value, type):
            lines.append(f"{name}: {type(value).__name__}")
        elif is_typeddict(value):
            lines.append(f"{name}: options {', '.join(sorted(get_type_hints(value)))}")
        else:
            lines.append(f"{name}({', '.join(base.__name__ for base in value.__bases__)})")
            lines += [f"    {line}" for line in _members(value)]
    return "\n".join(lines) + "\n"


def _members(kind: type) -> list[str]:
    found = [] if issubclass(kind, BaseException) else [f"{kind.__name__}{_signature(kind)}"]
    for name, value in sorted(_own(kind).items()):
        if isinstance(value, property):
            found.append(f"{name}: property")
        elif callable(value := getattr(kind, name)):
            found.append(f"{name}{_signature(value)}")
    return found


def _own(kind: type) -> dict[str, Any]:
    """Return the public members that ``kind`` and its bases of annealq define."""
    ours = [base for base in reversed(kind.__mro__) if base.__module__.partition(".")[0] in _OURS]
    return {name: value for base in ours for name, value in vars(base).items() if not name.startswith("_")}


_OURS = ("annealq", "producer", "schema", "worker")


def _signature(value: Any) -> str:
    try:
        return str(inspect.signature(value)).replace("'", "")
    except ValueError:  # those of dict
        return "(...)"


def _printed(program: str) -> str:
    """Return what ``program`` prints in a process of its own, which finds the package and its rooms."""
    path = os.pathsep.join(map(str, (ROOT, _PACKAGE.parent)))
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_names_and_signatures_change_on_purpose() -> None:
    """The file is what users rely on: a line that goes or changes is a new major version."""
    now = surface()
    assert now == _PINNED.read_text(encoding="utf-8"), (
        f"the public surface differs from {_PINNED.relative_to(ROOT)}: if that is meant, write this there, "
        f"and a line into CHANGELOG.md:\n{now}"
    )


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse((_PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    (checked,) = (
        node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    seen = {
        alias.name for node in ast.walk(checked) if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert seen | {"__version__"} == set(annealq.__all__) == set(dir(annealq))
    assert annealq.__all__ == sorted(annealq.__all__)


def test_another_name_is_not_there() -> None:
    with pytest.raises(AttributeError, match=r"docs/python\.md"):
        _ = annealq.nothing


def test_importing_it_loads_no_library() -> None:
    loaded = set(_printed(_IMPORT).split()) - sys.stdlib_module_names
    assert loaded == {"annealq"}


@pytest.mark.parametrize("name", ["AnnealqClassifier", "EnergyHead", "Network"])
def test_without_torch_it_names_the_extra(name: str) -> None:
    program = _WITHOUT_TORCH.replace("NAME", name)
    assert _printed(program).startswith(f"annealq.{name} needs torch, which is not installed: pip install")


def test_the_wheel_has_it_once() -> None:
    builder = pytest.importorskip("hatchling.builders.wheel").WheelBuilder(str(ROOT))
    paths = [file.distribution_path for file in builder.recurse_included_files()]
    assert sorted(path for path in paths if "annealq/" in path or "public" in path) == sorted(
        f"annealq/{file.name}" for file in _PACKAGE.iterdir() if file.is_file()
    )
