"""Tables leave columns out instead of cutting words, pipes get all of them, and plots have their points."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.table import Table

from producer.reports.terminal import FirstThatFits, new_table, page, plot_lines

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


POINTS = [(0.5, 0.90, False), (5.0, 0.95, True), (50.0, 0.99, False)]


def places(drawn: list[str], sign: str) -> list[tuple[int, int]]:
    """Return line and column of each ``sign`` in the area."""
    return [
        (row, column)
        for row, line in enumerate(drawn)
        if "|" in line
        for column, character in enumerate(line.partition("|")[2])
        if character == sign
    ]


def test_dearer_points_are_further_right_and_better_ones_higher() -> None:
    drawn = plot_lines(POINTS, 0.95, above="accuracy", below="seconds")
    (top, right), (bottom, left) = places(drawn, "o")
    ((middle, between),) = places(drawn, "*")
    assert top < middle < bottom
    assert left == 0
    assert right == 63
    assert between in (31, 32)  # the middle of 0.5 and 50, of a logarithmic axis
    assert "- -" in drawn[middle]
    assert drawn[top].startswith(" 99.00% |")
    assert drawn[bottom].startswith(" 90.00% |")
    assert drawn[-1].split() == ["0.5", "seconds", "50"]
    assert max(map(len, drawn)) <= 79


def test_a_target_far_below_does_not_hide_the_points() -> None:
    drawn = plot_lines(POINTS, 0.1, above="accuracy", below="seconds")
    assert not any("- -" in line for line in drawn)
    assert len({row for row, _ in places(drawn, "o")}) == 2


@pytest.mark.parametrize("cost", [0.0, 3.0])
def test_equal_costs_and_no_costs_are_drawn(cost: float) -> None:
    drawn = plot_lines([(cost, 0.9, True), (cost, 0.9, False)], 0.9, above="accuracy", below="seconds")
    assert len(places(drawn, "*")) == 1
