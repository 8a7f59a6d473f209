"""Whatever is typed, a person gets one readable line and an exit code, never a traceback.

The cases are made of the table `hostile.toml` and of the commands themselves: a new option has cases from its
first day.
"""

from __future__ import annotations

import io
import re
import shutil
import signal
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from sqlalchemy import insert

from producer import cli
from producer.cli import SUMMARIES, app, load_command
from producer.commands.shared.exits import printable
from producer.networks.choose import choose_network
from producer.runs.enqueue import RunOptions, enqueue_run
from schema.database import Database
from schema.parameters import Parameters, Solver
from schema.shapes import ImageShape
from schema.tables import Network
from tests import PATIENCE_S
from tests.integration.conftest import network_row, some_images

_TABLE = tomllib.loads((Path(__file__).parent / "hostile.toml").read_text(encoding="utf-8"))
_HANGS_S = PATIENCE_S
_CLASS_NAME = re.compile(
    r"\b[A-Z]\w*(Error|Exception|Warning)\b|\b(Refused|Unavailable|Offline|Uncertain):|Value error,"
)
_WAY_OUT = re.compile(r"Try 'annealq|: .|; ")
_EACH = 4  # of the values for each option and argument, others for each


def _leaves() -> Iterator[tuple[str, Any]]:
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        loaded = load_command(name) if name in SUMMARIES else command
        for sub, leaf in getattr(loaded, "commands", {"": loaded}).items():
            yield f"{name} {sub}".strip(), leaf


COMMANDS = dict(_leaves())


def _cases(name: str) -> Iterator[list[str]]:
    """Yield the arguments of each case of the command ``name``, with the table's {placeholders}."""
    complete = _TABLE["complete"].get(name, [])
    yield [*complete, "--nonsense"]
    yield complete[:-1] if complete else ["too", "many"]
    for at, word in enumerate(complete):
        if not word.startswith("-"):
            yield from ([*complete[:at], value, *complete[at + 1 :]] for value in _some(at))
    options = [p for p in COMMANDS[name].params if p.param_type_name == "option"]
    for number, option in enumerate(options):
        if option.is_flag:
            yield [*complete, f"{option.opts[0]}=x"]
            continue
        for value in _some(number):
            given = [f"{option.opts[0]}={value}"]
            yield [*given, *complete] if "--" in complete else [*complete, *given]


def _some(number: int) -> list[str]:
    """Return the values that the argument or option of this ``number`` gets."""
    values: list[str] = _TABLE["values"]
    return [values[(number * _EACH + k) % len(values)] for k in range(_EACH)]


CASES = {name: list(_cases(name)) for name in COMMANDS}


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the table's placeholders stand for, and a database with two queued runs."""
    folder = tmp_path_factory.mktemp("hostile")
    images = folder / "images.npz"
    np.savez(images, images=some_images(20).images, labels=np.arange(20) % 10)
    garbage, locked = folder / "garbage.npz", folder / "locked.npz"
    garbage.write_bytes(np.random.default_rng(1).bytes(2_000))
    locked.write_bytes(b"locked")
    locked.chmod(0)
    (folder / "folder").mkdir()
    return {
        "{images}": str(images),
        "{garbage}": str(garbage),
        "{locked}": str(locked),
        "{missing}": str(folder / "absent" / "missing.npz"),
        "{folder}": str(folder / "folder"),
        "{long}": "a" * 5_000,
        "{surrogate}": "\udcff.npz",
    }


@pytest.fixture(scope="module")
def filled(_sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("filled") / "annealq.db"
    shutil.copy(_sqlite_template, path)
    database = Database(f"sqlite:///{path}")
    with database.transaction() as session:
        session.execute(insert(Network).values(network_row()))
        network = choose_network(session, "digits", ImageShape.image(8, 8))
    for seed in (1, 2):
        enqueue_run(database, some_images(20, seed=seed), network, Solver.LOCAL, Parameters(), RunOptions())
    database.dispose()
    return path


class _Started(BaseException):
    pass


def _start(*_: object) -> None:
    raise _Started


def _hang(*_: object) -> None:
    raise TimeoutError("the command hangs")


@pytest.mark.parametrize("name", COMMANDS)
def test_a_person_gets_one_line(
    name: str,
    filled: Path,
    places: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    database = tmp_path / "annealq.db"
    shutil.copy(filled, database)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("ANNEALQ_DATABASE_URL", f"sqlite:///{database}")
    monkeypatch.setenv("ANNEALQ_BROKER_URL", f"redis+socket://{tmp_path}/none.sock")
    monkeypatch.setenv("ANNEALQ_EMULATOR_URL", "http://127.0.0.1:9")
    monkeypatch.setattr("os.execvpe", _start)  # it would replace this process
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    signal.signal(signal.SIGALRM, _hang)
    faults = []
    for case in CASES[name]:
        arguments = [_filled(word, places) for word in case]
        monkeypatch.setattr(sys, "argv", ["annealq", *name.split(), *arguments])
        signal.alarm(_HANGS_S)
        code: object = 0
        try:
            cli.main()
        except SystemExit as end:
            code = end.code or 0
        except _Started:
            continue
        except (KeyboardInterrupt, TimeoutError) as error:
            faults.append(f"{case}: {error!r}")
            continue
        finally:
            signal.alarm(0)
            said = capsys.readouterr()
        if fault := _fault(code, said.err, case):
            faults.append(f"{case}: exit code {code}: {fault}\n{said.err[-600:]}")
    assert not faults, "\n\n".join(faults)


def _filled(word: str, places: dict[str, str]) -> str:
    return places.get(word, word)


def _fault(code: object, text: str, case: list[str]) -> str | None:
    """Return what is wrong with a message ``text`` and its exit ``code``, or None."""
    if code not in (0, 1, 2):
        return "another exit code"
    if "Traceback" in text or "defect" in text:
        return "a defect"
    if found := _CLASS_NAME.search(text):
        return f"names the class {found.group()}"
    if any(not letter.isprintable() and letter not in "\n\t" for letter in text):
        return "controls the terminal"
    if code and not re.search(r"^((error|Error): .)", text, re.MULTILINE):
        return "says nothing"
    message = _plain(text.partition("rror: ")[2])
    if code and not any(_plain(name) in message for name in _names(case)):
        return "does not name the thing"
    if code and not _WAY_OUT.search(text[:200] + text.partition("rror: ")[2]):
        return "no way out"
    return None


def _names(case: list[str]) -> Iterator[str]:
    """Yield what may name the thing that is wrong: options, values, and what the table says."""
    yield from _TABLE["named"]
    for word in case:
        option, _, value = word.partition("=")
        parts = (option, value, printable(word), printable(value), _TABLE["also"].get(option, ""))
        yield from (part[:20] for part in parts if _plain(part))


def _plain(text: str) -> str:
    """Return letters and digits of ``text``, since an option may be a word of a sentence."""
    return "".join(filter(str.isalnum, text.lower()))


def test_there_are_many_cases() -> None:
    assert sum(map(len, CASES.values())) >= 300
