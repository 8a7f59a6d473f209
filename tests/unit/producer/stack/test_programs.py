from __future__ import annotations

import time
from pathlib import Path

import pytest

from producer.stack import programs
from producer.stack.programs import Program
from schema.errors import AnnealqError, InputError
from schema.settings import Settings


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of a child whose `worker.tools.energy_histograms` is the script that the test writes."""
    package = tmp_path / "worker" / "tools"
    package.mkdir(parents=True)
    for folder in (package, package.parent):
        (folder / "__init__.py").touch()
    monkeypatch.chdir(tmp_path)
    return Settings(home=tmp_path, database_url="sqlite:///here.db")


def write(text: str) -> None:
    Path("worker/tools/energy_histograms.py").write_text(f"import json, os, sys, time\n{text}\n")


def test_a_program_gets_arguments_input_and_the_database_of_the_settings(settings: Settings) -> None:
    write(
        'print(json.dumps({"got": sys.argv[1:], "url": os.environ["ANNEALQ_DATABASE_URL"]}))\n'
        'sys.stdout.write(sys.stdin.read() + os.environ["A"])'
    )
    with programs.start(
        Program.ENERGY_HISTOGRAMS,
        ["7"],
        settings,
        timeout_s=60,
        stdin='{"a": 1}\n',
        variables={"A": '{"b": 2}'},
    ) as running:
        assert list(running.json_lines()) == [
            {"got": ["7"], "url": "sqlite:///here.db"},
            {"a": 1},
            {"b": 2},
        ]


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
        programs.run(Program.ENERGY_HISTOGRAMS, [], settings, timeout_s=60)
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
        Program.ENERGY_HISTOGRAMS, [], settings, timeout_s=60, stdin="z" * 300_000
    ) as running:
        assert running.text().endswith("x\n300000\n")
