"""README.md and docs/ as tests see them: fenced blocks, inline code, links, and the commands in them.

A fence's info string is a language, and for languages that can run one directive at most:

    ```bash                      a script, run by tests/acceptance/test_docs.py
    ```console                   `$ ` before each command, then its output; numbers may differ, `...` skips
    ```python                    a program, run in the same folder
    ```bash background: TEXT     runs until the end of the page; the page continues once it prints TEXT
    ```bash norun: REASON        only parsed
    ```toml file: NAME           written to this file before the page continues; python and yaml, too
    ```text, ```mermaid, ```json shown

The blocks of a page run in order, in one folder, with one home of their own. Of a notebook those of its text
run before its code.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import typer
from markdown_it import MarkdownIt
from markdown_it.token import Token

from producer.cli import SUMMARIES, app, load_command

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
DIRECTIVES = {
    "bash": {"background", "norun"},
    "console": {"norun"},
    "python": {"norun", "file"},
    "toml": {"file"},
    "yaml": {"file"},
    "json": set[str](),
    "text": set[str](),
    "mermaid": set[str](),
}
_CLI: Any = typer.main.get_command(app)
_CLI.commands |= {name: load_command(name) for name in SUMMARIES}


@dataclass(frozen=True)
class Block:
    """One fenced block. ``directive`` and ``value`` are empty if the fence names a language alone."""

    page: str
    line: int
    language: str
    directive: str
    value: str
    text: str

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def script(self) -> str:
        """The shell commands of the block, without prompts and output."""
        if self.language == "console":
            return "\n".join(command for command, _output in self.steps())
        return self.text if self.language == "bash" else ""

    def steps(self) -> Iterator[tuple[str, list[str]]]:
        """Yield each command of a console block with the lines that it prints."""
        command, output = "", list[str]()
        for line in self.text.splitlines():
            if line.startswith("$ "):
                if command:
                    yield command, output
                command, output = line.removeprefix("$ "), []
            else:
                output.append(line)
        yield command, output


def tokens(page: Path) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(text(page))


def text(page: Path) -> str:
    """Return the Markdown of ``page``; of a notebook that of its cells."""
    read = page.read_text(encoding="utf-8")
    return "\n\n".join(cells(json.loads(read), "markdown")) if page.suffix == ".ipynb" else read


def cells(notebook: dict[str, Any], kind: str) -> list[str]:
    """Return the sources of the cells of one ``kind``, code or markdown, of a ``notebook``."""
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == kind]


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of ``page`` in order."""
    found = []
    for token in tokens(page):
        if token.type == "code_block":
            raise AssertionError(
                f"{page.name}:{(token.map or [0])[0] + 1}: fence this block and name a language"
            )
        if token.type == "fence":
            language, _, rest = token.info.strip().partition(" ")
            directive, _, value = rest.partition(": ")
            line = (token.map or [0])[0] + 1
            found.append(Block(page.name, line, language, directive, value.strip(), token.content))
    return found


def inline_code(page: Path) -> list[str]:
    """Return the texts in backticks of ``page``, with line ends as spaces."""
    children = [child for token in tokens(page) for child in token.children or []]
    return [" ".join(child.content.split()) for child in children if child.type == "code_inline"]


def links(page: Path) -> list[str]:
    """Return the targets of the links of ``page``."""
    children = [child for token in tokens(page) for child in token.children or []]
    return [str(child.attrs["href"]) for child in children if child.type == "link_open"]


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives to the headings of ``page``."""
    found = tokens(page)
    titles = [found[k + 1].content for k, token in enumerate(found) if token.type == "heading_open"]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def commands(script: str) -> list[list[str]]:
    """Return the simple commands of a shell ``script`` as words, without assignments before them."""
    found = []
    for line in script.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="();<>|&")
        lexer.whitespace_split = True
        for is_operator, words in groupby(lexer, key=lambda word: set(word) <= set("();<>|&")):
            command = list(words)
            while command and re.match(r"\w+=", command[0]):
                command = command[1:]
            if command and not is_operator:
                found.append(command)
    return found


def check_arguments(words: list[str]) -> None:
    """Parse `annealq` and its arguments as the program does, without running it."""
    if {"-h", "--help", "--version"} & set(words):
        check_mention(words)
        return
    command, rest = _CLI, words[1:]
    while hasattr(command, "commands"):
        assert rest, f"{' '.join(words)}: no command"
        assert rest[0] in command.commands, f"{' '.join(words)}: no command {rest[0]}"
        command, rest = command.commands[rest[0]], rest[1:]
    command.make_context(command.name, list(rest))
    if "--" in rest:  # `schedules add NAME --cron C -- classify DATA ...`
        check_arguments(["annealq", *rest[rest.index("--") + 1 :]])


def check_mention(words: list[str]) -> None:
    """Check that the subcommands and options of an incomplete `annealq` command exist."""
    command = _CLI
    for position, word in enumerate(words[1:], 1):
        if word == "--":
            check_mention(["annealq", *words[position + 1 :]])
            return
        if word.startswith("-"):
            assert word in options(command), f"{' '.join(words)}: no option {word}"
        elif hasattr(command, "commands"):
            assert word in command.commands, f"{' '.join(words)}: no command {word}"
            command = command.commands[word]


def options(command: Any) -> set[str]:
    """Return the options of a command, or of a group and all that is below it."""
    found = {"-h", "--help"} | {
        name for each in command.params for name in (*each.opts, *each.secondary_opts)
    }
    for each in getattr(command, "commands", {}).values():
        found |= options(each)
    return found


def all_commands() -> Iterator[tuple[str, Any]]:
    """Yield every command that does something with its full name, as in `annealq runs list`."""
    waiting = [("annealq", _CLI)]
    while waiting:
        name, command = waiting.pop()
        if hasattr(command, "commands"):
            waiting += [(f"{name} {each}", below) for each, below in command.commands.items()]
        else:
            yield name, command


def all_options() -> set[str]:
    return options(_CLI)
