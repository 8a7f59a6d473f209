"""Bodies, filters and faults as they come from outside."""

from __future__ import annotations

import zlib
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schema.errors import ParameterError
from worker.emulator.qpu.errors import Rejected
from worker.emulator.routes import wire
from worker.emulator.routes.solvers import wanted_fields
from worker.emulator.service.faults import Fault, FaultKind, Faults, Target, parse, parse_option
from worker.emulator.service.options import EmulatorOptions
from worker.emulator.service.options import parse as parse_options


@given(st.binary())
def test_what_was_deflated_is_inflated(content: bytes) -> None:
    assert wire.inflate(zlib.compress(content)) == content


@given(st.binary())
def test_no_body_can_do_more_than_be_refused(content: bytes) -> None:
    for read in (wire.inflate, wire.parse):
        with suppress(Rejected):
            read(content)


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("all", {"identity", "status", "description", "properties", "avg_load"}),
        ("all,-status,-avg_load", {"identity", "description", "properties"}),
        ("none,+identity,+status,+avg_load", {"identity", "status", "avg_load"}),
        ("none, identity", {"identity"}),
        ("none", set()),
    ],
)
def test_filters_choose_fields(text: str, fields: set[str]) -> None:
    assert wanted_fields(text) == fields


@pytest.mark.parametrize("text", ["", "some", "all,status", "all,-qubits", "+identity"])
def test_wrong_filters_are_refused(text: str) -> None:
    with pytest.raises(Rejected):
        wanted_fields(text)


def test_faults_happen_as_often_as_asked_and_one_at_a_time() -> None:
    faults = Faults(seed=0)
    delay, error, reset = (
        parse_option(text)
        for text in (
            "target=poll,kind=delay",
            "target=poll,kind=error,count=2",
            "target=poll,kind=reset,count=1",
        )
    )
    faults.active += [delay, error, reset]
    assert faults.pick(Target.SUBMIT, "before") == []
    assert [faults.pick(Target.POLL, "before") for _ in range(4)] == [
        [delay, error],
        [delay, error],
        [delay, reset],
        [delay],
    ]
    assert (delay.fired, error.fired, reset.fired) == (4, 2, 1)


def test_a_fault_after_acceptance_does_not_happen_before() -> None:
    faults = Faults(seed=0)
    faults.active.append(Fault(Target.SUBMIT, FaultKind.RESET, when="after"))
    assert faults.pick(Target.SUBMIT, "before") == []
    assert len(faults.pick(Target.SUBMIT, "after")) == 1


def test_a_fault_by_chance_happens_about_so_often() -> None:
    faults = Faults(seed=1)
    faults.active.append(Fault(Target.LIST, FaultKind.ERROR, probability=0.3))
    happened = sum(bool(faults.pick(Target.LIST, "before")) for _ in range(10_000))
    assert abs(happened - 3000) < 4 * (10_000 * 0.3 * 0.7) ** 0.5


def test_a_fault_is_read_from_an_option() -> None:
    fault = parse_option("target=submit,kind=error,when=after,status=429,retry_after=0.5,probability=0.25")
    assert fault == Fault(
        Target.SUBMIT, FaultKind.ERROR, when="after", status=429, retry_after=0.5, probability=0.25
    )


@pytest.mark.parametrize(
    "given_fault",
    [
        None,
        {},
        {"target": "submit", "kind": "error", "status": 99},
        {"target": "submit", "kind": "error", "retry_after": -1},
        {"target": "submit", "kind": "error", "probability": True},
        {"target": "submit", "kind": "error", "when": "never"},
        {"target": "submit", "kind": "corrupt", "damage": "base64"},
        {"target": "submit", "kind": "error", "fired": 3},
    ],
)
def test_wrong_faults_are_refused(given_fault: object) -> None:
    with pytest.raises(ParameterError):
        parse(given_fault)


def test_options_have_the_same_defaults_on_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    assert parse_options([]) == EmulatorOptions()
    monkeypatch.setenv("ANNEALQ_EMULATOR_TOKEN", "secret")
    assert parse_options(["--port=0"]) == EmulatorOptions(port=0, token="secret")


@pytest.mark.parametrize("wrong", ["--port=70000", "--threads=0", "--keep=0", "--max-age=-1", "--token= "])
def test_wrong_options_are_refused(wrong: str) -> None:
    with pytest.raises(ParameterError):
        parse_options([wrong])
