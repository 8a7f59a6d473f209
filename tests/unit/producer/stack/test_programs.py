from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from producer.stack import programs
from producer.stack.programs import Program
from schema.errors import AnnealqError, InputError
from schema.settings import Settings
from tests import PATIENCE_S
from worker import tools

_TOOLS = Path(tools.__file__).parent


@pytest.fixture
def own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of a child whose `worker.tools.energy_histograms` is the script that the test writes."""
    package = tmp_path / "worker" / "tools"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").touch()
    (package / "__init__.py").write_text(f"__path__.append({str(_TOOLS)!r})\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(programs, "_forks", [])
    return Settings(home=tmp_path, database_url="sqlite:///here.db")


@pytest.fixture
def forks(own_settings: Settings) -> Iterator[None]:
    with programs.forked():
        yield


@pytest.fixture(params=["started", "forked"])
def settings(request: pytest.FixtureRequest, own_settings: Settings) -> Settings:
    if request.param == "forked":
        request.getfixturevalue("forks")
    return own_settings


def write(text: str) -> None:
    lines = ["import json, os, sys, time", "def main():", *text.splitlines()]
    lines[2:] = [f"    {line}" for line in lines[2:]]
    ending = 'if __name__ == "__main__":\n    main()\n'
    Path("worker/tools/energy_histograms.py").write_text("\n".join([*lines, ending]))


def test_a_program_gets_arguments_input_and_the_database_of_the_settings(settings: Settings) -> None:
    write(
        'print(json.dumps({"got": sys.argv[1:], "url": os.environ["ANNEALQ_DATABASE_URL"]}))\n'
        "sys.stdout.write(sys.stdin.read() + os.getcwd())"
    )
    with programs.start(
        Program.ENERGY_HISTOGRAMS, ["7"], settings, timeout_s=PATIENCE_S, stdin='{"a": 1}\n"'
    ) as running:
        text = running.text().splitlines()
    assert json.loads(text[0]) == {"got": ["7"], "url": "sqlite:///here.db"}
    assert text[1:] == ['{"a": 1}', f'"{settings.home}']


def test_variables_are_those_of_one_program(settings: Settings) -> None:
    write('print(json.dumps([os.environ.get("A")]))')

    def found(variables: dict[str, str] | None) -> list[list[str | None]]:
        with programs.start(
            Program.ENERGY_HISTOGRAMS, [], settings, timeout_s=PATIENCE_S, variables=variables
        ) as running:
            return list(running.json_lines())  # type: ignore[arg-type]

    assert [found(given) for given in ({"A": "b"}, None, {"A": "c"})] == [[["b"]], [[None]], [["c"]]]


def test_what_may_be_hostile_is_read_by_a_process_of_its_own(settings: Settings) -> None:
    Path("worker/tools/check_backbone.py").write_text("import os\nprint(os.getppid())\n")
    assert programs.run(Program.CHECK_BACKBONE, [], settings, timeout_s=PATIENCE_S) == f"{os.getpid()}\n"


@pytest.mark.parametrize(
    ("script", "kind", "message"),
    [
        ('sys.exit("first\\nthe last line")', AnnealqError, "^the last line$"),
        ('print("bad input", file=sys.stderr); sys.exit(2)', InputError, "^bad input$"),
        ("import no_such_package", AnnealqError, "needs a worker's packages .*no_such_package.*pip install"),
        ("sys.exit(3)", AnnealqError, "`worker.tools.energy_histograms` ended with exit code 3"),
    ],
)
def test_a_failure_is_the_last_line_of_standard_error(
    settings: Settings, script: str, kind: type[AnnealqError], message: str
) -> None:
    write(script)
    with pytest.raises(AnnealqError, match=message) as caught:
        programs.run(Program.ENERGY_HISTOGRAMS, [], settings, timeout_s=PATIENCE_S)
    assert type(caught.value) is kind


def test_a_program_that_takes_too_long_is_killed(settings: Settings) -> None:
    write("time.sleep(60)")
    started = time.monotonic()
    with pytest.raises(AnnealqError, match=r"took more than 0\.5 s"):
        programs.run(Program.ENERGY_HISTOGRAMS, [], settings, timeout_s=0.5)
    assert time.monotonic() - started < 30


def test_much_output_before_the_input_is_read_blocks_nobody(settings: Settings) -> None:
    write('print("x" * 300_000); print("y" * 300_000, file=sys.stderr); print(len(sys.stdin.read()))')
    with programs.start(
        Program.ENERGY_HISTOGRAMS, [], settings, timeout_s=PATIENCE_S, stdin="z" * 300_000
    ) as running:
        assert running.text().endswith("x\n300000\n")


@pytest.mark.usefixtures("forks")
def test_programs_at_once_are_forks_of_one_process(own_settings: Settings) -> None:
    write("print(os.getppid(), *sys.argv[1:]); sys.stdout.flush(); time.sleep(0.2)")

    def run(number: int) -> list[str]:
        arguments = [str(number)]
        return programs.run(Program.ENERGY_HISTOGRAMS, arguments, own_settings, timeout_s=PATIENCE_S).split()

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(run, range(8)))
    assert [got for _, got in found] == [str(number) for number in range(8)]
    (server,) = {int(parent) for parent, _ in found}
    assert psutil.Process(server).ppid() == os.getpid()


def test_a_server_that_died_is_started_again_and_ends_with_the_block(own_settings: Settings) -> None:
    write("print(os.getppid()); sys.stdout.flush(); time.sleep(float(sys.argv[1]))")

    def parent() -> int:
        return int(programs.run(Program.ENERGY_HISTOGRAMS, ["0"], own_settings, timeout_s=PATIENCE_S))

    with programs.forked():
        first = parent()
        arguments = [str(PATIENCE_S)]
        with programs.start(
            Program.ENERGY_HISTOGRAMS, arguments, own_settings, timeout_s=PATIENCE_S
        ) as running:
            os.kill(first, signal.SIGKILL)
            with pytest.raises(AnnealqError, match="exit code 1"):
                running.text()
        second = parent()
        assert second != first
    assert not psutil.pid_exists(second)


@pytest.mark.usefixtures("forks")
def test_a_fork_ends_with_its_block(own_settings: Settings) -> None:
    write("print(os.getpid()); sys.stdout.flush(); time.sleep(60)")
    with programs.start(Program.ENERGY_HISTOGRAMS, [], own_settings, timeout_s=PATIENCE_S) as running:
        pid = next(running.json_lines())
    assert not psutil.pid_exists(int(pid))  # type: ignore[call-overload]
