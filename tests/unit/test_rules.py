"""What no file may do: run what it reads, build SQL, set states directly, start the worker elsewhere."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from producer.stack.programs import Program

ROOT = Path(__file__).parents[2]
PACKAGES = ("schema", "producer", "worker")
FILES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]

_RUNS_WHAT_IT_READS = {"pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal", "joblib"}
_TAKES_SQL = {"execute", "exec_driver_sql", "executemany", "executescript", "text", "scalar", "scalars"}
# A pragma takes no parameters; what is put in is a number of our own.
_PRAGMAS = {"schema/database/engine.py": {"BUSY_TIMEOUT_MS"}, "worker/emulator/service/store.py": {"_FORMAT"}}


_PLURAL = re.compile(
    r" (images|problems|runs|batches|reads|tiles|units|chains|qubits|networks|files|labels|classes|couplers|"
    r"schedules|embeddings|calibrations|keys|errors|chips|rows|layers|duplicates|bytes|pictures)\b(?!/)"
)


def unsafe_loads(tree: ast.AST) -> Iterator[str]:
    """Imports and calls that may run code from a file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names if one.name.split(".")[0] in _RUNS_WHAT_IT_READS)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in _RUNS_WHAT_IT_READS:
            yield str(node.module)
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            is_numpy = name in {"np.load", "numpy.load", "np.lib.format.read_array"}
            if name in {"eval", "exec", "yaml.load", "yaml.unsafe_load"} or (
                (is_numpy and given.get("allow_pickle") != "False")
                or (name == "torch.load" and given.get("weights_only") != "True")
                or given.get("allow_pickle") == "True"
            ):
                yield ast.unparse(node)


def fixed_plurals(tree: ast.AST) -> Iterator[str]:
    """Counts in texts that say "1 images": a number, then a plural. `schema.quantities.count_text` does not.

    Limits, which have names in capitals, are above 1.
    """
    for node in ast.walk(tree):
        if not isinstance(node, ast.JoinedStr):
            continue
        for value, after in pairwise(node.values):
            if not (isinstance(value, ast.FormattedValue) and isinstance(after, ast.Constant)):
                continue
            name = ast.unparse(value.value)
            is_count = value.format_spec is not None or name.startswith("len(")
            if is_count and not name.isupper() and _PLURAL.match(str(after.value)):
                yield f"{{{name}}}{after.value}"


def built_sql(tree: ast.AST) -> Iterator[tuple[str, set[str]]]:
    """Calls whose SQL is put together from parts, with the names of what was put in."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name in _TAKES_SQL and _is_built(node.args[0]):
            put_in = {one.id for one in ast.walk(node.args[0]) if isinstance(one, ast.Name)}
            yield ast.unparse(node), put_in


def _is_built(given: ast.expr) -> bool:
    if isinstance(given, ast.JoinedStr):
        return any(isinstance(part, ast.FormattedValue) for part in given.values)
    if isinstance(given, ast.BinOp) and isinstance(given.op, ast.Add | ast.Mod):
        return any(isinstance(one, ast.Constant | ast.JoinedStr) for one in ast.walk(given))
    is_method = isinstance(given, ast.Call) and isinstance(given.func, ast.Attribute)
    return is_method and given.func.attr in {"format", "join", "replace"}  # type: ignore[attr-defined]


def unguarded_moves(tree: ast.AST) -> Iterator[str]:
    """Yield code that sets the state of an existing row other than by a transition of `schema.database`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and any(_is_state(target) for target in node.targets):
            yield ast.unparse(node)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "values":
            is_insert = any(
                isinstance(part, ast.Call) and ast.unparse(part.func).split(".")[-1] == "insert"
                for part in ast.walk(node.func.value)
            )
            literals = [*node.args, *(keyword.value for keyword in node.keywords if keyword.arg is None)]
            keys = [key for literal in literals if isinstance(literal, ast.Dict) for key in literal.keys]
            is_state = any(keyword.arg == "state" for keyword in node.keywords) or any(map(_is_state, keys))
            if is_state and not is_insert:
                yield ast.unparse(node)


def _is_state(target: ast.expr | None) -> bool:
    is_name = isinstance(target, ast.Constant) and target.value == "state"
    is_column = isinstance(target, ast.Attribute) and target.attr == "state"
    return is_name or (is_column and ast.unparse(target) != "self.state")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_nothing_runs_what_it_reads_and_sql_has_parameters(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert list(unsafe_loads(tree)) == []
    allowed = _PRAGMAS.get(path.relative_to(ROOT).as_posix(), set())
    assert [call for call, put_in in built_sql(tree) if not put_in <= allowed or not put_in] == []


def test_programs_of_the_worker_are_started_in_one_place_and_exist() -> None:
    starters = [
        path.relative_to(ROOT).as_posix()
        for path in FILES
        if path.is_relative_to(ROOT / "producer") and "worker.tools" in path.read_text(encoding="utf-8")
    ]
    assert sorted(starters) == ["producer/stack/forkserver.py", "producer/stack/programs.py"]
    for program in Program:
        assert (ROOT / "worker" / "tools" / program.replace(".", "/")).with_suffix(".py").is_file()


@pytest.mark.parametrize(
    "source",
    [
        "import pickle", "from pickle import loads", "import shelve", "import marshal as m", "np.load(path)",
        "np.load(path, allow_pickle=True)", "torch.load(path)", "torch.load(path, weights_only=False)",
        "eval(text)", "numpy.load(path, allow_pickle=flag)",
    ],
)  # fmt: skip
def test_the_rule_against_pickles_sees(source: str) -> None:
    assert list(unsafe_loads(ast.parse(source)))


@pytest.mark.parametrize(
    "source",
    [
        'session.execute(text(f"DELETE FROM {table}"))', 'cursor.execute("SELECT " + column)',
        'connection.exec_driver_sql("SELECT %s" % value)', 'text("SELECT {}".format(column))',
        'session.execute(", ".join(columns))',
    ],
)  # fmt: skip
def test_the_rule_against_built_sql_sees(source: str) -> None:
    assert list(built_sql(ast.parse(source)))


@pytest.mark.parametrize(
    "path",
    [path for path in FILES if not path.is_relative_to(ROOT / "schema" / "database")],
    ids=lambda path: path.relative_to(ROOT).as_posix(),
)
def test_states_move_by_guarded_transitions_only(path: Path) -> None:
    assert list(unguarded_moves(ast.parse(path.read_text(encoding="utf-8")))) == []


@pytest.mark.parametrize(
    "source",
    [
        "update(Run).where(Run.id == 1).values(state=RunState.DONE)", 'update(Run).values({"state": state})',
        "update(Run).values({Run.state: state})", 'statement.values(**{"state": state})', "row.state = state",
    ],
)  # fmt: skip
def test_the_rule_against_unguarded_moves_sees(source: str) -> None:
    assert list(unguarded_moves(ast.parse(source)))


@pytest.mark.parametrize(
    "source",
    [
        'cursor.execute("SELECT a FROM b WHERE c = ?", (value,))', 'text("SELECT 1 WHERE a = :a")',
        "session.execute(select(Run.id).where(Run.id == run))", "np.load(path, allow_pickle=False)",
        "torch.load(path, weights_only=True)", "insert(Run).values(state=RunState.QUEUED)",
        "update(Run).where(Run.state == state).values(error=None)",
    ],
)  # fmt: skip
def test_the_rules_let_pass(source: str) -> None:
    tree = ast.parse(source)
    assert (list(unsafe_loads(tree)), list(built_sql(tree)), list(unguarded_moves(tree))) == ([], [], [])


def test_one_is_not_a_plural() -> None:
    found = {
        path.relative_to(ROOT).as_posix(): texts
        for path in FILES
        if path.is_relative_to(ROOT / "producer")
        and (texts := list(fixed_plurals(ast.parse(path.read_text(encoding="utf-8")))))
    }
    assert found == {}
    assert list(fixed_plurals(ast.parse('f"{count:,} images"'))) == ["{count} images"]
    assert list(fixed_plurals(ast.parse('f"{len(x)} runs of {LIMIT:,} images"'))) == ["{len(x)} runs of "]
