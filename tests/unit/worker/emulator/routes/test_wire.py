"""Bodies, filters, headers and options as they come from outside."""

from __future__ import annotations

import zlib
from contextlib import suppress
from copy import deepcopy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schema.errors import ParameterError
from worker.emulator.qpu.errors import Rejected
from worker.emulator.routes import wire
from worker.emulator.routes.solvers import Filter
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


DEFINITION = {
    "identity": {"name": "tiny"},
    "status": "ONLINE",
    "properties": {
        "qubits": [0, 1],
        "couplers": [[0, 1]],
        "problem_timing_data": {"version": "1", "delay": 2},
    },
}


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("all", DEFINITION),
        ("all,-status,-properties", {"identity": {"name": "tiny"}}),
        ("none,+identity,+status", {"identity": {"name": "tiny"}, "status": "ONLINE"}),
        ("none, identity", {"identity": {"name": "tiny"}}),
        ("none", {}),
        ("none,+properties.couplers", {"properties": {"couplers": [[0, 1]]}}),
        (
            "none,+properties.problem_timing_data.delay,+properties.qubits",
            {"properties": {"problem_timing_data": {"delay": 2}, "qubits": [0, 1]}},
        ),
        (
            "none,+properties,-properties.problem_timing_data.delay,-properties.qubits",
            {"properties": {"couplers": [[0, 1]], "problem_timing_data": {"version": "1"}}},
        ),
        ("none,+status,-status", {}),
        ("all,-properties,+properties.qubits,-identity,-status", {"properties": {"qubits": [0, 1]}}),
        ("none,+nothing,+properties.nothing,+status.nothing,-properties.qubits", {}),
        ("all,-nothing,-properties.nothing.more", DEFINITION),
    ],
)
def test_filters_choose_fields_from_left_to_right(text: str, fields: dict[str, object]) -> None:
    before = deepcopy(DEFINITION)
    assert Filter.parse(text).apply(DEFINITION) == fields
    assert before == DEFINITION


@pytest.mark.parametrize(
    "text", ["", "some", "all,status", "all,-", "+identity", "none,+", "none,+properties.", "none,+a..b"]
)
def test_wrong_filters_are_refused(text: str) -> None:
    with pytest.raises(Rejected):
        Filter.parse(text)


PROBLEMS = "application/vnd.dwave.sapi.problems+json"
ANSWER = "application/vnd.dwave.sapi.problem-answer+json"


@pytest.mark.parametrize(
    "accept",
    [
        "", "*/*", "application/json", PROBLEMS, f"{PROBLEMS}; version=3", f"{PROBLEMS};version=3.0.0",
        f'{PROBLEMS}; version="3.0"', f"{ANSWER}; version=2.1",
        f"{PROBLEMS}; version=2, {PROBLEMS}; version=3",
    ],
)  # fmt: skip
def test_versions_that_the_service_has_are_accepted(accept: str) -> None:
    wire.check_accept(accept)


@pytest.mark.parametrize(
    "accept",
    [f"{PROBLEMS}; version=2.1", f"{PROBLEMS};version=4", f"{PROBLEMS};version=33", f"{ANSWER};version=2.2"],
)
def test_other_versions_are_refused(accept: str) -> None:
    with pytest.raises(Rejected, match="use version=3"):
        wire.check_accept(accept)


def test_an_answer_comes_in_the_older_version_that_was_asked_for() -> None:
    kinds = [wire.reply({}, "problem-answer", accept=accept) for accept in (f"{ANSWER}; version=2.1", "*/*")]
    assert [kind.headers["content-type"].split("version=")[1] for kind in kinds] == ["2.1.0", "3.0.0"]


def test_options_have_the_same_defaults_on_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    assert parse_options([]) == EmulatorOptions()
    monkeypatch.setenv("ANNEALQ_EMULATOR_TOKEN", "secret")
    assert parse_options(["--port=0"]) == EmulatorOptions(port=0, token="secret")


@pytest.mark.parametrize(
    "wrong", ["--port=70000", "--threads=0", "--keep=0", "--max-age=-1", "--max-queued=-1", "--token= "]
)
def test_wrong_options_are_refused(wrong: str) -> None:
    with pytest.raises(ParameterError):
        parse_options([wrong])
