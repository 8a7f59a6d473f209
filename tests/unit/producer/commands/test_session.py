"""A command that uses the stack of another process."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from producer.commands.shared import session
from producer.stack import lock
from schema.settings import load


def test_a_command_ends_soon_after_the_stack_that_it_joined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "_LOOK_EVERY_S", 0.0)
    with lock.hold(tmp_path):
        check = session._joined(load(home=tmp_path))
        check()
    check()
    with lock.hold(tmp_path):  # it has started again
        check()
    check()
    check()
    with pytest.raises(typer.Exit) as ended:
        check()
    assert ended.value.exit_code == 130
    elsewhere = session._joined(load(home=tmp_path, broker_url="redis://localhost"))
    for _ in range(9):
        elsewhere()
