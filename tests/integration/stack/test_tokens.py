"""A token that workers lack is noticed before anything is enqueued, and said where it must be set."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import func, insert, select

from producer import jobs
from producer.context import AppContext
from producer.networks.chosen import ChosenNetwork
from producer.progress.access import other_account
from producer.runs.request import ClassificationRequest
from schema.database import Database
from schema.errors import ParameterError
from schema.parameters import Parameters, Solver
from schema.settings import load
from schema.settings.tokens import account, account_of, dwave_token
from schema.tables import Preparation, Run, Worker
from tests.integration.conftest import some_images

Submit = Callable[..., None]
DWAVE = account_of("dwave-token")


def workers(database: Database, *accounts: dict[str, str]) -> None:
    """Let a worker be alive on each host `h0`, `h1`, ... with these ``accounts``."""
    with database.transaction() as session:
        now = database.now(session)
        for number, known in enumerate(accounts):
            row = {"name": f"w{number}", "host": f"h{number}", "pid": number, "version": "0"}
            session.execute(insert(Worker).values(**row, accounts=known, started_at=now, seen_at=now))


@pytest.fixture
def submit(database: Database, network: ChosenNetwork) -> Submit:
    """Enqueue a run of ``solver``, as command line, API and schedules do; nobody is notified."""

    def runs() -> int:
        with database.reading() as session:
            return session.execute(select(func.count()).select_from(Run)).scalar_one()

    def submit(solver: Solver, **context: object) -> None:
        request = ClassificationRequest(data="digits", solver=solver, network="digits")
        app = AppContext(load(), database, **context)  # type: ignore[arg-type]
        before = runs()
        try:
            jobs.submit(app, request, some_images(), notify=lambda: None)
        except ParameterError:
            assert runs() == before
            raise

    return submit


def test_workers_without_a_token_are_named_with_what_to_do(
    database: Database, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers(database, {"dwave": "", "emulator": ""}, {"dwave": "", "emulator": ""})
    lacking = "the 2 workers on h0, h1 have no token of D-Wave"
    with pytest.raises(ParameterError, match=f"{lacking}: set DWAVE_API_TOKEN .* where they start, and"):
        submit(Solver.DWAVE)
    monkeypatch.setenv("DWAVE_API_TOKEN", "dwave-token")
    with pytest.raises(ParameterError, match=f"{lacking}, though this process does: set"):
        submit(Solver.DWAVE)
    with pytest.raises(ParameterError, match=r"know no emulator: start them with `annealq up --emulator`"):
        submit(Solver.EMULATOR)
    submit(Solver.LOCAL)


def test_one_worker_with_a_token_suffices(database: Database, submit: Submit) -> None:
    workers(database, {"dwave": ""}, {"dwave": DWAVE})
    submit(Solver.DWAVE)


def test_without_workers_nothing_is_known(submit: Submit) -> None:
    submit(Solver.DWAVE)
    submit(Solver.EMULATOR)


def test_workers_of_the_command_itself_have_its_token(
    submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ParameterError, match=r"there is no token of D-Wave: set DWAVE_API_TOKEN or run"):
        submit(Solver.DWAVE, starts_workers=True)
    monkeypatch.setenv("DWAVE_API_TOKEN", "dwave-token")
    submit(Solver.DWAVE, starts_workers=True)


def test_another_token_of_the_emulator_is_refused(
    database: Database, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers(database, {"emulator": account_of("annealq")})
    monkeypatch.setenv("ANNEALQ_EMULATOR_URL", "http://127.0.0.1:1")
    submit(Solver.EMULATOR)
    monkeypatch.setenv("ANNEALQ_EMULATOR_TOKEN", "other")
    with pytest.raises(ParameterError, match=r"another token .*ANNEALQ_EMULATOR_TOKEN where they start, too"):
        submit(Solver.EMULATOR)


def test_another_token_of_d_wave_is_said(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    workers(database, {"dwave": DWAVE})

    def remark() -> str | None:
        with database.reading() as session:
            return other_account(session, Solver.DWAVE, load(), database.now(session))

    assert remark() is None
    monkeypatch.setenv("DWAVE_API_TOKEN", "mine")
    assert remark() == "the workers use another token of D-Wave than this terminal: theirs is charged"
    monkeypatch.setenv("DWAVE_API_TOKEN", "dwave-token")
    assert remark() is None


def test_dry_runs_are_refused_too(database: Database, network: ChosenNetwork) -> None:
    workers(database, {"dwave": ""})
    with pytest.raises(ParameterError, match="no token of D-Wave"):
        jobs.submit_dry_run(AppContext(load(), database), network.id, Solver.DWAVE, Parameters())
    with database.reading() as session:
        assert session.execute(select(func.count()).select_from(Preparation)).scalar_one() == 0


FILE = "[defaults]\ntoken = A\n[one]\ntoken = B\n[two]\nendpoint = http://x\n[three]\ntoken = C\n"


@pytest.mark.parametrize(
    ("file", "variables"),
    [
        (FILE, {}),
        (FILE, {"DWAVE_PROFILE": "two"}),
        (FILE, {"DWAVE_PROFILE": "three"}),
        (FILE, {"DWAVE_API_TOKEN": "D"}),
        (FILE.replace("token = A", "token = A\nprofile = three"), {}),
        ("[defaults]\ntoken = A\n", {}),
        ("[one]\nendpoint = http://x\n", {}),
        ("", {}),
    ],
)
@pytest.mark.parametrize("named", [True, False])
def test_the_token_is_the_one_that_d_wave_s_client_finds(
    file: str, variables: dict[str, str], named: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = pytest.importorskip("dwave.cloud.config")
    for name in [name for name in os.environ if name.startswith("DWAVE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path / "system"))
    (tmp_path / "dwave").mkdir()
    (tmp_path / "dwave" / "dwave.conf").write_text(file)
    if named:
        variables = {**variables, "DWAVE_CONFIG_FILE": str(tmp_path / "dwave" / "dwave.conf")}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert dwave_token(os.environ) == (config.load_config().get("token") or "")
    assert account(Solver.DWAVE, load()) == account_of(dwave_token(os.environ))


def test_files_that_cannot_be_read_have_no_token(tmp_path: Path) -> None:
    damaged = tmp_path / "dwave.conf"
    damaged.write_text("token = A")
    assert dwave_token({"DWAVE_CONFIG_FILE": str(damaged)}) == ""
    assert dwave_token({"DWAVE_CONFIG_FILE": str(tmp_path / "none")}) == ""
    assert dwave_token({"DWAVE_CONFIG_FILE": str(tmp_path)}) == ""
