"""Options that are more than one word."""

from __future__ import annotations

from pathlib import Path

import pytest

from producer.commands.shared.options import read_json
from schema.errors import ParameterError
from schema.parameters import Parameters


def test_a_list_is_json_or_a_file_of_it(tmp_path: Path) -> None:
    file = tmp_path / "schedule.json"
    file.write_text("[[0, 0], [20, 1]]\n")
    for text in (" [[0, 0], [20, 1]]", str(file)):
        assert Parameters(anneal_schedule=read_json("anneal_schedule", text)).anneal_schedule == (
            (0, 0),
            (20, 1),
        )


@pytest.mark.parametrize("content", [b"{}", b"", b"[[0, 0]", b"\xff\xfe", b"[" * 50_000])
def test_what_is_no_list_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "schedule.json"
    file.write_bytes(content)
    with pytest.raises(ParameterError, match="anneal schedule"):
        read_json("anneal_schedule", str(file))


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(ParameterError, match="/no/such/file: No such file"):
        read_json("rounds", "/no/such/file")
    with pytest.raises(ParameterError, match="anneal schedule: write a list as JSON"):
        read_json("anneal_schedule", "[[0, 0], ")
