"""What the client makes of a server's answers: errors, events, arrays, tables, a run in a notebook."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise
from typing import Any

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


def test_a_notebook_shows_a_run_and_no_markup_of_its_name() -> None:
    statistics = {"images_per_second": 1234.5, "qpu_access_time_us": 2_500_000}
    shown: dict[str, Any] = {"run_id": 7, "name": "<script>", "state": "done", "images": 10_000}
    run = RunInfo(shown | {"accuracy": 0.98765, "statistics": statistics, "error": None})
    html = run._repr_html_()
    assert "<script>" not in html
    for text in ("run 7: &lt;script&gt; done", "10,000", "98.77%", "2.500 s"):
        assert text in html
    assert "error" not in html
    assert RunInfo({"run_id": 8, "state": "queued"})._repr_html_().startswith("<table>")
    assert (run.id, run.state, run.is_finished) == (7, "done", True)


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
