"""A run with several rounds of reads over HTTP: early answers are marked, and final ones wait."""

from __future__ import annotations

import httpx
import pytest

from producer.networks.chosen import ChosenNetwork
from schema.messages import Message, Task
from tests.integration.api.conftest import npz, send
from tests.integration.conftest import work_off, work_off_but
from worker.context import Context

ROUNDS = "[[30, 5, 0.4]]"


@pytest.fixture
def half(http: httpx.Client, context: Context, working: ChosenNetwork) -> tuple[int, list[Message]]:
    """A run of 20 images whose first round is read, and the hint for what follows."""
    fields = {"reads": 4, "sweeps": 3, "batch_size": 10, "rounds": ROUNDS}
    made: int = send(http, npz(20), **fields).json()["run_id"]
    return made, work_off_but(context, Task.AGGREGATE_RUN, Message(Task.DISPATCH))


def test_results_of_the_first_round_are_there_at_once_and_marked(
    http: httpx.Client, context: Context, half: tuple[int, list[Message]]
) -> None:
    run, hints = half
    assert http.get(f"/v1/runs/{run}").json()["provisional"] is True
    final = http.get(f"/v1/runs/{run}/results").json()
    assert (final["results"], final["complete"], final["provisional"]) == ([], False, True)
    early = http.get(f"/v1/runs/{run}/results?provisional=true").json()
    assert (len(early["results"]), early["complete"], early["provisional"]) == (20, False, True)
    assert {row["reads"] for row in early["results"]} == {4}
    assert {row["provisional"] for row in early["results"]} == {True}
    assert http.get(f"/v1/runs/{run}/images/3").json()["result"] == early["results"][3]
    work_off(context, *hints)
    page = http.get(final["next"]).json()
    assert (len(page["results"]), page["complete"], page["provisional"]) == (20, True, False)
    assert {row["provisional"] for row in page["results"]} == {False}
    again = [row["image"] for row in page["results"] if row["reads"] == 34]
    assert len(again) == 8
    shown = http.get(f"/v1/runs/{run}").json()
    assert (shown["state"], shown["round"], shown["provisional"]) == ("done", 2, False)
    assert [(one["images"], one["reads"]) for one in shown["rounds"]] == [(20, 4), (8, 30)]
    assert shown["read_again"]["images"] == 8
    reads = http.get(f"/v1/runs/{run}/images/{again[0]}/reads?round=2").json()
    assert reads["reads"] == 30
    others = {row["image"] for row in page["results"]} - set(again)
    assert http.get(f"/v1/runs/{run}/images/{others.pop()}/reads?round=2").status_code == 404
