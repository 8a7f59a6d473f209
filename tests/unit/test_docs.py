"""README.md and docs/: every command, option, path and link in them exists, and the map shows the rooms."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from producer.cli import app
from schema.database.crash_points import CrashPoint
from schema.settings import ApiSettings, Settings
from schema.settings.worker import WorkerSettings
from tests import documents
from tests.documents import DIRECTIVES, NOTEBOOKS, ROOT, Block

PAGES = [*documents.PAGES, *NOTEBOOKS]
BLOCKS = [block for page in PAGES for block in documents.blocks(page)]
_SIDES = ("producer", "worker", "schema")
_PUBLIC = ROOT / "producer" / "public" / "annealq"
_PATH = re.compile(r"(?:producer|worker|schema|migrations|tests|docs|\.ci)/[\w./*-]*[\w/]")


def _place(item: Block | Path) -> str:
    return item.place if isinstance(item, Block) else item.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("block", BLOCKS, ids=_place)
def test_a_block_has_a_known_language_and_directive(block: Block) -> None:
    assert block.language in DIRECTIVES, "name a language of tests/documents.py in the fence"
    if block.directive:
        assert block.directive in DIRECTIVES[block.language]
        assert block.value, f"{block.directive} needs a value, as in `{block.directive}: ...`"


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.script], ids=_place)
def test_every_annealq_command_line_is_one(block: Block) -> None:
    for command in documents.commands(block.script):
        in_docker = command[:4] == ["docker", "compose", "run", "--rm"]
        words = ["annealq", *command[5:]] if in_docker else command
        if words[0] == "annealq":
            documents.check_arguments(words)
        if words[0] == "make":
            assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), words


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language == "python"], ids=_place)
def test_python_is_python(block: Block) -> None:
    ast.parse(block.text)


@pytest.mark.parametrize("page", PAGES, ids=_place)
def test_commands_and_options_within_text_exist(page: Path) -> None:
    known = documents.all_options() | _other_options(page)
    for code in documents.inline_code(page):
        words = shlex.split(code) if code.startswith("annealq ") else code.split()[:1]
        if words[:1] == ["annealq"]:
            documents.check_mention(words)
        elif words and words[0].startswith("--"):
            assert words[0].partition("=")[0] in known, code


def _other_options(page: Path) -> set[str]:
    """Options of pytest and git on the page of those who work on the project."""
    return {"--collect-only", "--reference"} if page.name == "contributing.md" else set()


@pytest.mark.parametrize("page", PAGES, ids=_place)
def test_every_path_of_the_project_exists(page: Path) -> None:
    texts = [*documents.inline_code(page), *(block.script for block in documents.blocks(page))]
    for path in {found for text in texts for found in _PATH.findall(text)}:
        assert list(ROOT.glob(path)), f"{path} is not there"


@pytest.mark.parametrize("page", PAGES, ids=_place)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in documents.links(page):
        if link.startswith("https://"):
            continue
        target, _, anchor = link.partition("#")
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), link
        assert not anchor or anchor in documents.anchors(file), link


def test_the_readme_is_short_and_the_index_names_every_page() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 200
    indexed = {link.partition("#")[0] for link in documents.links(ROOT / "docs" / "README.md")}
    below = {page.relative_to(ROOT / "docs").as_posix() for page in PAGES if page.name != "README.md"}
    assert below <= indexed


def test_the_map_shows_every_room_with_its_own_sentence() -> None:
    """A line of the map is a room's path and the first sentence of its docstring."""
    (text,) = (block.text for block in documents.blocks(ROOT / "README.md") if "schema/tables/" in block.text)
    shown = {" ".join(line.split()) for line in text.splitlines()}
    paths = sorted(path for side in _SIDES for path in (ROOT / side).glob("*/__init__.py"))
    paths.append(_PUBLIC / "__init__.py")
    rooms = {path.parent.relative_to(ROOT).as_posix(): _sentence(path) for path in paths}
    missing = [
        f"{room}/ {sentence}" for room, sentence in rooms.items() if f"{room}/ {sentence}" not in shown
    ]
    assert not missing, "the map of README.md needs these lines:\n" + "\n".join(missing)
    gone = (
        {line.split()[0].rstrip("/") for line in shown}
        - rooms.keys()
        - {*_SIDES, "migrations", "tests", "docs"}
    )
    assert not gone


def _sentence(path: Path) -> str:
    """Return the first sentence of a module's docstring, without its full stop."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    paragraph = " ".join(text.partition("\n\n")[0].split())
    return re.split(r"\.(?: |$)", paragraph, maxsplit=1)[0]


def test_every_crash_point_is_in_the_table() -> None:
    text = (ROOT / "docs" / "reliability.md").read_text()
    table = text.partition("| name |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `([\w-]+)`", table, re.MULTILINE)) == set(CrashPoint)


def test_every_setting_exists() -> None:
    known = {
        f"{kind.model_config['env_prefix']}{field}".upper()
        for kind in (Settings, WorkerSettings, ApiSettings)
        for field in kind.model_fields
    }
    source = (path.read_text() for side in (*_SIDES, "tests") for path in (ROOT / side).rglob("*.py"))
    read_elsewhere = {name for text in source for name in re.findall(r'"(ANNEALQ_[A-Z_]+)[="]', text)}
    named = {name for page in PAGES for name in re.findall(r"ANNEALQ_[A-Z_]*[A-Z]", documents.text(page))}
    assert named <= known | read_elsewhere | {"ANNEALQ_KEY"}


def test_every_figure_names_a_test_file_that_exists() -> None:
    named = [code for page in PAGES for code in documents.inline_code(page) if "pytest " in code]
    assert named
    for code in named:
        words = shlex.split(code)
        assert all((ROOT / word).exists() for word in words if word.startswith("tests/")), code


@pytest.mark.parametrize(
    "line", ["annealq classify", "annealq classify d --nope", "annealq run list", "annealq"]
)
def test_a_wrong_command_line_is_seen(line: str) -> None:
    ((words,),) = [documents.commands(f"A=1 {line}  # a comment")]
    with pytest.raises(Exception, match=r"(?i)no such|missing|no command"):
        documents.check_arguments(words)


@pytest.mark.parametrize(("name", "command"), list(documents.all_commands()))
def test_the_help_of_every_command_has_an_example_that_parses(name: str, command: Any) -> None:
    assert command.example.startswith(name), "end the docstring with: Example: `annealq ...`."
    documents.check_arguments(shlex.split(command.example))


def test_help_shows_whole_sentences_ranges_and_groups() -> None:
    runner = CliRunner()
    for words in ([], ["runs"], ["networks"], ["embeddings"]):
        assert "..." not in runner.invoke(app, [*words, "--help"]).output.partition("Commands:")[2]
    shown = runner.invoke(app, ["classify", "--help"]).output
    titles = ["Arguments:", "Data:", "Network:", "Sampling:", "Sampling with qubits:", "Money and hours:"]
    assert [line for line in shown.splitlines() if line in titles] == titles
    assert "[1 to 10,000]" in " ".join(shown.split())


def test_commands_are_found_in_pipes_and_substitutions() -> None:
    script = 'KEY=$(annealq keys add me --json) # no\nannealq runs list | head -1 && curl -s "a?b=1&c=2"'
    found = [words[:2] for words in documents.commands(script)]
    assert found == [["annealq", "keys"], ["annealq", "runs"], ["head", "-1"], ["curl", "-s"]]
