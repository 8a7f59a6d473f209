"""The rules of the house, read from the syntax trees: rooms, names, lengths, docstrings, imports."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PUBLIC = "producer/public/annealq"  # imported as `annealq`
PACKAGES = ("schema", "producer", "worker", PUBLIC)
MOST_LOOSE_MODULES = 6  # at the top of each package
FEWEST_FILES, MOST_FILES = 3, 13  # of a room; one with rooms of its own may have fewer
MOST_FILE_LINES = 400
MOST_FUNCTION_LINES = 60
LONGEST_PATH = 14  # modules in the longest chain of imports
_NOT_IMPERATIVE = frozenset(
    (
        *("the", "a", "an", "all", "every", "each", "one", "some", "this", "these", "no", "as"),
        *("images", "bytes", "what", "who", "whose", "whom", "whether", "where", "when", "which"),
        *("how", "why", "whoever", "whatever"),
    )
)

Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def _modules() -> dict[str, tuple[Path, ast.Module]]:
    """Return every module of ours by its dotted name, with its path and syntax tree."""
    modules = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            if path.is_relative_to(ROOT / PUBLIC) and package != PUBLIC:
                continue  # it lies within `producer`, and is no part of it
            name = ".".join(path.relative_to((ROOT / package).parent).with_suffix("").parts)
            modules[name.removesuffix(".__init__")] = path, ast.parse(path.read_text(encoding="utf-8"))
    return modules


@cache
def _rooms() -> dict[Path, list[Path]]:
    """Return the modules of each folder, apart from its ``__init__``."""
    rooms: dict[Path, list[Path]] = defaultdict(list)
    for path, _ in _modules().values():
        rooms[path.parent].extend([path] if path.name != "__init__.py" else [])
    return rooms


def _source_of(folder: Path) -> Path:
    """Return the folder of the path that modules in ``folder`` are imported from."""
    return (ROOT / PUBLIC).parent if folder.is_relative_to(ROOT / PUBLIC) else ROOT


def _functions() -> Iterator[tuple[str, Function]]:
    """Yield every function and method of ours with the place where it is defined."""
    for path, tree in _modules().values():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{path.relative_to(ROOT)}:{node.lineno} {node.name}", node


@pytest.mark.parametrize("package", PACKAGES)
def test_few_modules_stand_outside_of_rooms(package: str) -> None:
    assert len(_rooms()[ROOT / package]) <= MOST_LOOSE_MODULES


def test_a_room_has_one_sentence_and_not_too_many_files() -> None:
    for folder, files in _rooms().items():
        name = folder.relative_to(ROOT).as_posix()
        tree = _modules()[folder.relative_to(_source_of(folder)).as_posix().replace("/", ".")][1]
        assert ast.get_docstring(tree), f"{name}: say what the room is for in __init__.py"
        has_rooms = any(folder in other.parents for other in _rooms())
        fewest = 0 if has_rooms else FEWEST_FILES
        assert fewest <= len(files) <= MOST_FILES, f"{name} has {len(files)} files"


def test_each_class_has_a_name_of_its_own() -> None:
    """The public package is left out: its classes are called as the things that they stand for."""
    places = defaultdict(list)
    for name, (path, tree) in _modules().items():
        if path.is_relative_to(ROOT / PUBLIC):
            continue
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(name)
    assert {name: modules for name, modules in places.items() if len(modules) > 1} == {}


def test_files_and_functions_are_short() -> None:
    long = [f"{path}: {count}" for path, count in _line_counts() if count > MOST_FILE_LINES]
    for place, node in _functions():
        count = (node.end_lineno or node.lineno) - node.lineno + 1
        if count > MOST_FUNCTION_LINES:
            long.append(f"{place}: {count}")
    assert long == []


def _line_counts() -> Iterator[tuple[str, int]]:
    for path, _ in _modules().values():
        yield path.relative_to(ROOT).as_posix(), len(path.read_text(encoding="utf-8").splitlines())


def test_docstrings_of_functions_begin_with_a_verb_and_end_with_a_full_stop() -> None:
    wrong = []
    for place, node in _functions():
        docstring = ast.get_docstring(node)
        if docstring is None:
            continue
        first = docstring.split()[0].lower().strip('.,:;`"')
        summary = docstring.split("\n\n")[0].rstrip()
        if first in _NOT_IMPERATIVE or not summary.endswith((".", ":", "?")):
            wrong.append(f"{place}: {summary}")
    assert wrong == []


@cache
def _imports() -> dict[str, set[str]]:
    """Return what each module imports of ours, also inside of functions and for type checking."""
    modules = _modules()
    imports: dict[str, set[str]] = {}
    for name, (_, tree) in modules.items():
        targets = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (module := _source(name, node)) in modules:
                for alias in node.names:
                    submodule = f"{module}.{alias.name}"
                    targets.add(submodule if submodule in modules else module)
            elif isinstance(node, ast.Import):
                targets.update(alias.name for alias in node.names if alias.name in modules)
        imports[name] = targets - {name}
    return imports


def _source(name: str, node: ast.ImportFrom) -> str:
    """Return the dotted name of what the module ``name`` imports from, also by a relative import."""
    if not node.level:
        return node.module or ""
    is_room = _modules()[name][0].name == "__init__.py"
    parts = name.split(".")
    package = parts[: len(parts) - node.level + is_room]
    return ".".join([*package, *filter(None, [node.module])])


def test_imports_make_no_circle_and_no_long_path() -> None:
    path = max((_longest_path(name, ()) for name in _modules()), key=len)
    assert len(path) <= LONGEST_PATH, " > ".join(path)


_longest: dict[str, tuple[str, ...]] = {}


def _longest_path(name: str, above: tuple[str, ...]) -> tuple[str, ...]:
    """Return the longest chain of imports from ``name``; fail where one leads back to ``above``."""
    assert name not in above, f"circle: {' > '.join((*above, name))}"
    if name not in _longest:
        below = (_longest_path(other, (*above, name)) for other in sorted(_imports()[name]))
        _longest[name] = (name, *max(below, key=len, default=()))
    return _longest[name]
