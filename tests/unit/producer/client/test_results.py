"""What the client makes of a server's answers: errors, events, arrays, tables, a run in a notebook."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from producer.api.routes.runs import rescoring, run
from producer.api.routes.runs.listing import RunQuery
from producer.api.routes.runs.results import ResultQuery
from producer.api.routes.submissions import options
from producer.client import (
    ChangeOptions,
    FilterOptions,
    MissingExtra,
    RescoreOptions,
    ResultArrays,
    ResultOptions,
    RunInfo,
    SubmitOptions,
    results,
)
from producer.client.errors import read_rejection
from producer.client.events import EventParser, ServerEvent
from schema.states import FINISHED_RUNS

ROW = {
    "image": 3, "source": "3.png", "label": 1, "true_class": "b", "predicted": None, "predicted_class": None,
    "status": "undecided", "probability": None, "energy_gap": None, "margin": 0.25, "scores": [0.25, 0.5],
    "probabilities": None,
}  # fmt: skip


@pytest.mark.parametrize(
    ("body", "hint", "code"),
    [
        ({"detail": "no run 5", "code": "x", "hint": "look", "message": "older"}, "look", "x"),
        ({"error": "x", "message": "no run 5", "hint": "look", "way_out": "older"}, "look", "x"),
        ({"error": "x", "message": "no run 5", "way_out": "look"}, "look", "x"),  # a server of version 0.1
        ({"detail": "no run 5"}, "is it an annealq server?", ""),
        (["no run 5"], "is it an annealq server?", ""),
        ("<html>", "is it an annealq server?", ""),
    ],
)  # fmt: skip
def test_a_rejection_has_the_hint_of_the_server(body: object, hint: str, code: str) -> None:
    text = body if isinstance(body, str) else json.dumps(body)
    rejection = read_rejection("http://a/v1/runs/5", 404, {}, text.encode())
    assert (rejection.status, rejection.hint, rejection.code) == (404, hint, code)
    assert str(rejection).endswith(f": {hint}")


def test_a_rejection_names_the_fields() -> None:
    field = {"field": "reads", "location": "body", "detail": "too many"}
    body = {"detail": "reads: too many", "hint": "fewer", "code": "unusable_parameter", "errors": [field, 5]}
    assert read_rejection("http://a", 422, {}, json.dumps(body).encode()).errors == (field,)


@pytest.mark.parametrize(
    ("value", "expected"), [("7", 7), ("0.5", 0.5), ("soon", None), ("", None), ("1e999", None)]
)
def test_the_time_to_wait_is_a_number(value: str, expected: float | None) -> None:
    assert read_rejection("http://a", 503, {"Retry-After": value}, b"").retry_after_s == expected


def test_the_time_to_wait_is_a_date() -> None:
    def seconds(hours: int) -> float | None:
        date = format_datetime(datetime.now(UTC) + timedelta(hours=hours), usegmt=True)
        return read_rejection("http://a", 503, {"Retry-After": date}, b"").retry_after_s

    assert (seconds(1) or 0) == pytest.approx(3600, abs=300)
    assert seconds(-1) == 0


@given(data=st.data())
def test_events_are_the_same_however_their_bytes_are_cut(data: st.DataObject) -> None:
    stream = (
        "id: 1\r\nevent: progress\r\ndata: {\r\ndata: é}\r\n\r\n: beat\n\nretry: 5\ndata:x\n\nid: 2\n\nda"
    )
    raw = stream.encode()
    cuts = sorted(data.draw(st.sets(st.integers(0, len(raw)))) | {0, len(raw)})
    parser = EventParser()
    found = [event for start, end in pairwise(cuts) for event in parser.feed(raw[start:end])]
    assert found == [ServerEvent("progress", "{\né}", "1"), ServerEvent("message", "x", "1")]


def test_arrays_have_a_place_for_what_is_unknown() -> None:
    images = [
        results.image_result(row)
        for row in (ROW, ROW | {"image": 4, "predicted": 1, "probability": 0.5, "probabilities": [0.5, 0.5]})
    ]
    arrays = ResultArrays.of(images, ["a", "b"])
    assert (arrays.index.tolist(), arrays.predicted.tolist()) == ([3, 4], [-1, 1])
    assert (arrays.label.tolist(), arrays.scores.tolist()) == ([1, 1], [[0.25, 0.5]] * 2)
    assert np.isnan(arrays.probability).tolist() == [True, False]
    np.testing.assert_array_equal(arrays.probabilities, [[np.nan, np.nan], [0.5, 0.5]])
    assert arrays.accuracy == 0.5
    empty = ResultArrays.of([], ["a", "b"])
    assert (empty.scores.shape, empty.probabilities.shape, empty.accuracy) == ((0, 2), (0, 2), None)


def test_a_table_has_the_columns_of_an_export() -> None:
    pytest.importorskip("pandas", reason="pandas is not installed: `make test` installs it")
    frame = results.data_frame([ROW, ROW | {"image": 4, "predicted": 0}], ["a", "b"])
    assert list(frame) == [
        *(name for name in ROW if name not in ("scores", "probabilities")),
        *("score_a", "score_b", "probability_a", "probability_b"),
    ]
    assert frame["score_b"].tolist() == [0.5, 0.5]
    assert frame["predicted"].isna().tolist() == [True, False]
    assert str(frame["predicted"].dtype) == "Int64"
    assert len(results.data_frame([], ["a", "b"])) == 0


def test_a_missing_library_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtra, match=r"pip install 'annealq-client\[pandas\]'"):
        results.data_frame([ROW], ["a", "b"])


def test_a_notebook_shows_the_figures_of_a_run() -> None:
    use = {"qpu": "Advantage", "qpu_time_us": 2_500_000, "alarm": "broken chains have doubled"}
    run = RunInfo(
        {
            "run_id": 7,
            "name": "monday",
            "state": "done",
            "network": "digits@1",
            "solver": "dwave",
            "images": 10_000,
            "decided": 9_990,
            "undecided": 10,
            "accuracy": 0.98765,
            "qpu": "Advantage",
            "budget_us": 3_000_000,
            "qpus": [use],
            "reservations": ["the guarantee is void", "Advantage: broken chains have doubled"],
            "error": None,
            "statistics": {"qpu_wasted_us": 100_000.0},
        }
    )
    shown = seen(run)
    assert shown[0] == ["run 7: monday"]
    assert dict(shown[1:]) == {
        "state": "done",
        "network": "digits@1",
        "solver": "dwave: Advantage",
        "images": "10,000: 9,990 decided, 10 undecided",
        "accuracy": "98.77%",
        "QPU time": "2.500 s charged, 0.100 s wasted, budget 3.000 s",
        "reservations": "the guarantee is void; Advantage: broken chains have doubled",
    }
    assert seen(RunInfo({"run_id": 8, "state": "queued"})) == [["run 8: "], ["state", "queued"]]
    assert (run.id, run.state, run.is_finished) == (7, "done", True)


def test_a_notebook_shows_progress_and_the_first_results() -> None:
    progress = results.RunProgress(7, "running", 2_000, 1_500, 1_000, 0, None)
    assert seen(progress) == [
        ["run 7"],
        ["state", "running"],
        ["sampled", "1,500 of 2,000"],
        ["scored", "1,000 of 2,000"],
        ["failed", "0 of 2,000"],
    ]
    rows = [ROW | {"image": k, "predicted": k % 2, "label": 1, "probability": 0.5} for k in range(12)]
    images = [results.image_result(row) for row in [ROW | {"label": None}, *rows[1:]]]
    shown = seen(ResultArrays.of(images, ["a", "b"]))
    assert shown[0] == ["images: 12, accuracy 54.55%; the first 10:"]
    assert shown[1] == ["image", "class", "label", "margin", "probability"]
    assert shown[2][:3] == ["3", "undecided", ""]
    assert shown[3][:3] == ["1", "b", "b"]
    assert shown[3][-1] == "50.00%"
    assert len(shown) == 12
    assert seen(ResultArrays.of([], ["a", "b"]))[0] == ["images: 0"]


def test_a_notebook_takes_no_markup_from_a_server() -> None:
    hostile = "</td><script>alert(1)</script><img src='//x' onerror=\"alert(1)\">&amp;"
    words = ("name", "state", "pause_reason", "waits", "network", "solver", "qpu", "error")
    run = RunInfo(
        {
            "run_id": 7,
            "notes": [hostile],
            "reservations": [hostile],
            **dict.fromkeys(words, hostile),
        }
    )
    assert sum(cell.count(hostile) for row in seen(run) for cell in row) == len(words) + 2
    progress = results.RunProgress(7, hostile, 1, 0, 0, 0, hostile)
    assert [row[-1] for row in seen(progress)].count(hostile) == 2
    image = results.image_result(ROW | {"predicted": 0, "label": 0})
    assert seen(ResultArrays.of([image], [hostile, "b"]))[2][1:3] == [hostile, hostile]


class _Table(HTMLParser):
    """Collects the text of each row and of the caption; fails for everything that a table does not need."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in ("table", "caption", "b", "tr", "th", "td")
        assert all(attribute == ("style", "text-align: left") for attribute in attrs)
        if tag in ("caption", "tr"):
            self.rows.append([])
        if tag in ("b", "th", "td"):
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        self.rows[-1][-1] += data


def seen(shown: RunInfo | results.RunProgress | ResultArrays) -> list[list[str]]:
    """Return the rows of text that a notebook shows, the caption first."""
    table = _Table()
    table.feed(shown._repr_html_())
    table.close()
    return table.rows


def test_client_and_server_know_the_same_states_and_options() -> None:
    assert set(results.FINISHED) == set(FINISHED_RUNS)
    form = options.schemas()["Form"]["properties"]
    known = set(SubmitOptions.__annotations__) - {"read_as"} | {"as"}  # a word of Python
    assert not set(form) - {"images", "labels"} - known, "add these options to producer/client/options.py"
    assert known <= set(form)
    assert set(FilterOptions.__annotations__) | {"limit", "following", "preceding"} == set(
        RunQuery.model_fields
    )
    assert set(ResultOptions.__annotations__) | {"cursor", "limit"} == set(ResultQuery.model_fields)
    assert set(ChangeOptions.__annotations__) == set(run.RunChanges.model_fields)
    assert set(RescoreOptions.__annotations__) == set(rescoring.Rescoring.model_fields)
