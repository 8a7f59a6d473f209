"""Settings that are completed or refused when they are read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from schema.errors import ParameterError
from schema.settings import default_home, load


@pytest.mark.parametrize(
    ("given", "endpoint"),
    [
        ("", ""),
        ("http://emulator:8477", "http://emulator:8477/sapi/v2/"),
        ("http://emulator:8477/", "http://emulator:8477/sapi/v2/"),
        ("http://emulator:8477/sapi/v2/", "http://emulator:8477/sapi/v2/"),
        ("https://proxy/quantum/sapi/v2", "https://proxy/quantum/sapi/v2"),
    ],
)
def test_the_address_of_an_emulator_is_enough(
    given: str, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANNEALQ_EMULATOR_URL", given)
    assert load().emulator_url == endpoint


@pytest.mark.parametrize("given", ["foo", "localhost:8477", "ftp://host", "http://", "http://host:99999"])
def test_what_is_no_address_of_an_emulator_is_refused(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANNEALQ_EMULATOR_URL", given)
    with pytest.raises(ParameterError, match=r"ANNEALQ_EMULATOR_URL.*http://HOST:PORT"):
        load()


def test_a_wrong_setting_of_workers_is_refused_by_every_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANNEALQ_WORKER_LEASE_S", "-1")
    with pytest.raises(ParameterError, match=r"^ANNEALQ_WORKER_LEASE_S, or its line of annealq\.toml: .*-1"):
        load()


def test_an_empty_home_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANNEALQ_HOME", "")
    with pytest.raises(ParameterError, match="ANNEALQ_HOME is empty: set it"):
        load()


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("ANNEALQ_WORKER_LEASE", "ANNEALQ_WORKER_LEASE_S"),
        ("ANNEALQ_DATABASE", "ANNEALQ_DATABASE_URL"),
        ("ANNEALQ_API_FOLDER", "ANNEALQ_API_FOLDERS"),
        ("annealq_hom", "ANNEALQ_HOME"),
    ],
)
def test_an_unknown_variable_is_refused_with_the_nearest(
    name: str, nearest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "1")
    with pytest.raises(ParameterError, match=f"variable {name}: did you mean {nearest}\\?"):
        load()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ANNEALQ_TEST_DATA", "/data"),
        ("ANNEALQ_LOG", "json"),
        ("ANNEALQ_SERVICE_HOST", "10.0.0.1"),
        ("ANNEALQ_PORT_8000_TCP_ADDR", "10.0.0.1"),
        ("ANNEALQ_PORT", "tcp://10.0.0.1:8000"),
        ("ANNEALQ_EMULATOR_SERVICE_PORT_HTTP", "8477"),
        ("annealq_worker_lease_s", "30"),
    ],
)
def test_other_variables_are_let_pass(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    load()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[worker]\nleases = 3\n", r"unknown setting 'leases' in \[worker\]: did you mean lease_s\?"),
        ("[wroker]\nlease_s = 3\n", r"unknown setting 'wroker' outside of tables: did you mean worker\?"),
        ("max_body_mb = 3\n", "unknown setting 'max_body_mb' outside of tables"),
        ("worker = 3\n", r"worker must be a table: write \[worker\]"),
        ("[worker\n", "cannot be read"),
        ("\udcff", "cannot be read"),
    ],
)
def test_a_wrong_file_is_refused(text: str, says: str) -> None:
    (default_home() / "annealq.toml").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ParameterError, match=says):
        load()


def test_a_home_that_may_not_be_entered_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "locked" / "home"
    home.mkdir(parents=True)
    monkeypatch.setenv("ANNEALQ_HOME", str(home))
    home.parent.chmod(0)
    user = os.geteuid()
    try:
        if user == 0:
            os.seteuid(65534)  # root may enter everything
        with pytest.raises(ParameterError, match=r"home/annealq\.toml cannot be read: Permission denied"):
            load()
    finally:
        os.seteuid(user)
        home.parent.chmod(0o700)
