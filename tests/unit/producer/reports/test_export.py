"""Rows written as CSV, JSON and Parquet are read back unchanged, or nothing is written."""

from __future__ import annotations

import csv
import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime
from enum import StrEnum
from pathlib import Path, PurePosixPath
from uuid import UUID

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import producer
from producer.images.source import read_images
from producer.reports import export
from producer.reports.export import guess_format, write, write_images
from schema.errors import ParameterError
from tests import PATIENCE_S

ROOT = Path(producer.__file__).parents[1]
NOON = datetime(2031, 5, 6, 12, 0, 0, 250_000, tzinfo=UTC)

# What a file of UTF-8 can hold: no lone surrogates.
texts = st.text(st.characters(exclude_categories=["Cs"]))
values = (
    st.none()
    | st.booleans()
    | st.integers(-(2**62), 2**62)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)
COLUMNS = ("image", "value")


class Status(StrEnum):
    DECIDED = "decided"


def read_csv(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def read_parquet(path: Path) -> list[dict[str, object]]:
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs annealq[parquet]")
    return parquet.read_table(path).to_pylist()


@given(column=st.lists(values))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_json_comes_back_as_it_was(tmp_path: Path, column: list[object]) -> None:
    rows = [{"image": number, "value": value, "unwanted": object()} for number, value in enumerate(column)]
    write(rows, COLUMNS, tmp_path / "a.json", "json")
    found = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert found == [{"image": row["image"], "value": row["value"]} for row in rows]


@given(column=st.lists(texts))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_csv_gives_texts_back_and_starts_none_as_a_formula(tmp_path: Path, column: list[str]) -> None:
    write([{"image": 0, "value": text} for text in column], COLUMNS, tmp_path / "a.csv", "csv")
    head, *found = read_csv(tmp_path / "a.csv")
    assert head == list(COLUMNS)
    assert [
        cells[1] if cells[1] == text else cells[1].removeprefix("'")
        for cells, text in zip(found, column, strict=True)
    ] == column
    assert not any(cells[1][:1] in set("=+-@\t\r") for cells in found if cells[1])


@pytest.mark.parametrize(
    "text", ["=1+2", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", '=HYPERLINK("http://x","y").png']
)
def test_texts_that_a_spreadsheet_would_run_get_an_apostrophe_in_csv_only(tmp_path: Path, text: str) -> None:
    rows = [{"source": text, "margin": -0.5}]
    write(rows, ["source", "margin"], tmp_path / "a.csv", "csv")
    assert read_csv(tmp_path / "a.csv")[1] == [f"'{text}", "-0.5"]
    write(rows, ["source", "margin"], tmp_path / "a.json", "json")
    assert json.loads((tmp_path / "a.json").read_text()) == rows


ROW = {
    "image": np.int64(3),
    "predicted": None,
    "scores": np.array([0.25, 0.75]),
    "margin": np.float32(0.5),
    "lowest": float("nan"),
    "tie": True,
    "status": Status.DECIDED,
    "at": NOON,
    "source": PurePosixPath("3/a b.png"),
    "run": UUID(int=7),
    "detail": {"pair": (1, None, float("inf"))},
}


def test_values_in_csv(tmp_path: Path) -> None:
    write([ROW], list(ROW), tmp_path / "a.csv", "csv")
    assert read_csv(tmp_path / "a.csv") == [
        list(ROW),
        [
            "3",
            "",
            "[0.25, 0.75]",
            "0.5",
            "",
            "true",
            "decided",
            "2031-05-06T12:00:00.250000+00:00",
            "3/a b.png",
            "00000000-0000-0000-0000-000000000007",
            '{"pair": [1, null, null]}',
        ],
    ]


def test_values_in_json(tmp_path: Path) -> None:
    write([ROW], list(ROW), tmp_path / "a.json", "json")
    assert json.loads((tmp_path / "a.json").read_text()) == [
        {
            "image": 3,
            "predicted": None,
            "scores": [0.25, 0.75],
            "margin": 0.5,
            "lowest": None,
            "tie": True,
            "status": "decided",
            "at": "2031-05-06T12:00:00.250000+00:00",
            "source": "3/a b.png",
            "run": "00000000-0000-0000-0000-000000000007",
            "detail": {"pair": [1, None, None]},
        }
    ]


def test_values_in_parquet_keep_their_types(tmp_path: Path) -> None:
    columns = [column for column in ROW if column != "detail"]
    write([ROW], columns, tmp_path / "a.parquet", "parquet")
    (found,) = read_parquet(tmp_path / "a.parquet")
    assert list(found) == columns
    assert found["at"] == NOON
    assert (found["image"], found["predicted"], found["lowest"], found["tie"]) == (3, None, None, True)
    assert (found["scores"], found["margin"], found["status"]) == ([0.25, 0.75], 0.5, "decided")


def test_parquet_of_more_rows_than_one_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "ROWS_PER_TABLE", 3)
    # Empty in the first table, whole numbers in the second, fractions in the third.
    column = [None, None, None, 1, 2, 3, 0.5, 1.5]
    write(
        ({"image": n, "value": v} for n, v in enumerate(column)), COLUMNS, tmp_path / "a.parquet", "parquet"
    )
    assert [row["value"] for row in read_parquet(tmp_path / "a.parquet")] == column


@pytest.mark.parametrize("kind", ["csv", "json", "parquet"])
def test_no_rows(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    write([], COLUMNS, path, kind)
    if kind == "csv":
        assert read_csv(path) == [list(COLUMNS)]
    elif kind == "json":
        assert json.loads(path.read_text()) == []
    else:
        parquet = pytest.importorskip("pyarrow.parquet", reason="needs annealq[parquet]")
        assert (parquet.read_table(path).num_rows, parquet.read_table(path).column_names) == (
            0,
            list(COLUMNS),
        )


def test_a_date_alone(tmp_path: Path) -> None:
    write([{"d": date(2030, 1, 2)}], ["d"], tmp_path / "a.csv", "csv")
    assert read_csv(tmp_path / "a.csv")[1] == ["2030-01-02"]


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_a_value_that_is_no_data_is_an_error_of_ours(tmp_path: Path, kind: str) -> None:
    with pytest.raises(TypeError, match="cannot export a bytes"):
        write([{"a": b"x"}], ["a"], tmp_path / "a", kind)
    assert list(tmp_path.iterdir()) == []


# standard output


def test_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"image": 0, "value": "é"}, {"image": 1, "value": None}]
    write(rows, COLUMNS, None, "csv")
    assert capsys.readouterr().out == "image,value\n0,é\n1,\n"
    write(rows, COLUMNS, None, "json")
    assert json.loads(capsys.readouterr().out) == rows


def test_rows_leave_as_they_come(capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[str] = []

    def rows() -> Iterator[dict[str, object]]:
        yield {"image": 0, "value": 0}
        yield {"image": 1, "value": 1}
        seen.append(capsys.readouterr().out)

    for kind in ("csv", "json"):
        write(rows(), COLUMNS, None, kind)
        capsys.readouterr()
    assert [text.count("\n") >= 2 for text in seen] == [True, True]


def test_parquet_is_not_for_standard_output() -> None:
    with pytest.raises(ParameterError, match="give a file name, or choose csv or json"):
        write([], COLUMNS, None, "parquet")


# formats


@pytest.mark.parametrize(("name", "kind"), [("a.csv", "csv"), ("b.x.JSON", "json"), ("c.parquet", "parquet")])
def test_the_suffix_names_the_format(name: str, kind: str) -> None:
    assert guess_format(Path(name)) == kind


@pytest.mark.parametrize("name", ["a", "a.xlsx", "csv", ".csv", "a.csv.gz"])
def test_a_suffix_that_names_none_lists_the_choices(name: str) -> None:
    with pytest.raises(ParameterError, match=r"\.csv, \.json, \.parquet"):
        guess_format(Path(name))


def test_parquet_without_pyarrow_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ParameterError, match=r"pip install 'annealq\[parquet\]'"):
        write([], COLUMNS, tmp_path / "a.parquet", "parquet")
    assert list(tmp_path.iterdir()) == []


def test_importing_loads_no_pyarrow() -> None:
    code = "import sys, producer.reports.export; print('pyarrow' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=PATIENCE_S
    )
    assert done.stdout.strip() == "False"


# whole files or none


def failing() -> Iterator[dict[str, object]]:
    yield {"image": 0, "value": 1}
    raise ZeroDivisionError


@pytest.mark.parametrize("kind", ["csv", "json", "parquet"])
def test_rows_that_fail_leave_the_folder_as_it_was(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a"
    with pytest.raises(ZeroDivisionError):
        write(failing(), COLUMNS, path, kind)
    assert list(tmp_path.iterdir()) == []
    path.write_text("before")
    with pytest.raises(ZeroDivisionError):
        write(failing(), COLUMNS, path, kind)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_temporary_folder_is_named(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FULL, "temporary", "csv"]
    place = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, env=place)
    assert done.stdout.startswith(f"DiskFull disk full: {tmp_path}: free some space there, or set TMPDIR")
    assert list(tmp_path.iterdir()) == []


def test_the_old_file_is_there_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("before")

    def rows() -> Iterator[dict[str, object]]:
        yield {"image": 0, "value": 1}
        assert path.read_text() == "before"

    write(rows(), COLUMNS, path, "csv")
    assert read_csv(path) == [list(COLUMNS), ["0", "1"]]
    assert list(tmp_path.iterdir()) == [path]


def test_a_new_file_has_the_permissions_that_files_have_here(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    write([], COLUMNS, tmp_path / "a.csv", "csv")
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "a.csv")}
    assert len(modes) == 1


def test_a_symbolic_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link.csv").symlink_to(tmp_path / "there" / "a.csv")
    write([], COLUMNS, tmp_path / "link.csv", "csv")
    assert (tmp_path / "link.csv").is_symlink()
    assert read_csv(tmp_path / "there" / "a.csv") == [list(COLUMNS)]


def test_folders_and_pipes_are_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    os.mkfifo(tmp_path / "pipe.csv")
    for name in ("folder.csv", "pipe.csv"):
        with pytest.raises(ParameterError, match=rf"{name}: exists and is not a regular file"):
            write([], COLUMNS, tmp_path / name, "csv")
    assert (tmp_path / "pipe.csv").is_fifo()


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"a\.csv: cannot be written \(No such file or directory\)"):
        write([], COLUMNS, tmp_path / "none" / "a.csv", "csv")


def test_a_run_is_named_where_a_file_has_a_place_for_it(tmp_path: Path) -> None:
    about = {"run_id": 7, "tags": ["\u00fcbung"], "created_at": datetime(2026, 5, 1, tzinfo=UTC)}
    images = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    write_images(tmp_path / "a.npz", images, np.array([1, 0]), about)
    with np.load(tmp_path / "a.npz") as stored:
        assert json.loads(stored["annealq"].item())["tags"] == ["\u00fcbung"]
    read = read_images(tmp_path / "a.npz")
    np.testing.assert_array_equal(read.images, images)
    assert read.labels is not None
    assert read.labels.tolist() == [1, 0]
    write([{"image": 0}], ["image"], tmp_path / "a.csv", "csv", about)
    assert (tmp_path / "a.csv").read_text() == "image\n0\n"


FULL = """
import resource, sys
from pathlib import Path
from producer.reports.export import write, write_temporary
from schema.errors import AnnealqError
if sys.argv[2] == "parquet":
    import pyarrow.parquet
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
rows = ({"image": row, "value": str(row**3)} for row in range(30_000))
try:
    if sys.argv[1] == "temporary":
        write_temporary(rows, {"image": int, "value": str}, sys.argv[2], {})
    else:
        write(rows, ["image", "value"], Path(sys.argv[1]), sys.argv[2])
except AnnealqError as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize("kind", ["csv", "json", "parquet"])
def test_no_space_left(tmp_path: Path, kind: str) -> None:
    if kind == "parquet":
        pytest.importorskip("pyarrow", reason="needs annealq[parquet]")
    path = tmp_path / "a"
    path.write_text("before")
    command = [sys.executable, "-c", FULL, str(path), kind]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=PATIENCE_S)
    assert done.stdout.startswith(f"DiskFull disk full: {path}: nothing was written; free some space")
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]
