"""Tables leave columns out instead of cutting words, and pipes get all of them."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.table import Table

from producer.reports.terminal import FirstThatFits, new_table, page

ROW = ("12", "a-long-name-of-a-file.npz", "done", "2026-11-26 22:00", "an error that has many words in it")
COLUMNS = ("run", "data", "state", "created", "result")


def shown(width: int) -> str:
    table = new_table(*COLUMNS, right=("run",), first_out=("created", "result"), wrapped=("result",))
    table.add_row(*ROW)
    console = Console(width=width, file=io.StringIO())
    console.print(table)
    return console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("width", "left_out"), [(200, ()), (100, ()), (80, ("created",)), (50, ("created", "result"))]
)
def test_columns_are_left_out_in_their_order(width: int, left_out: tuple[str, ...]) -> None:
    text = shown(width)
    assert max(map(len, text.splitlines())) <= width
    for name, cell in zip(COLUMNS, ROW, strict=True):
        words = [cell] if name != "result" else cell.split()
        assert all((word in text) == (name not in left_out) for word in words), (name, text)
    assert ("left out: " + ", ".join(left_out) in text) == bool(left_out)


def test_nothing_is_lost_where_even_the_first_columns_do_not_fit() -> None:
    text = shown(24)
    assert max(map(len, text.splitlines())) <= 24
    cells = [line.split("│")[2].strip() for line in text.splitlines() if line.startswith("│")]
    assert "".join(cells) == ROW[1]


def test_a_pipe_gets_lines_of_full_length() -> None:
    assert page().width > 300


def test_the_first_table_that_fits_is_shown() -> None:
    wide, narrow = Table("a" * 50), Table("b")

    def shown(width: int) -> str:
        console = Console(width=width, file=io.StringIO())
        console.print(FirstThatFits(wide, narrow))
        return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]

    assert "a" * 50 in shown(80)
    assert "b" in shown(40)
    assert "a" not in shown(40)
