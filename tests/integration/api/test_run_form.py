"""The form that changes a run: what it shows, changes and refuses, and that a refused one is not lost."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from html import unescape

import httpx
import pytest

from producer.api.keys import keys
from producer.networks.chosen import ChosenNetwork
from producer.runs import control, queries
from producer.runs.enqueue import RunOptions, enqueue_run
from schema.database import Database
from schema.parameters import Parameters, Solver
from tests.integration.conftest import some_images
from tests.serving import client


@pytest.fixture
def run(database: Database, working: ChosenNetwork) -> int:
    return enqueue_run(database, some_images(4), working, Solver.EMULATOR, Parameters(), RunOptions()).id


def fields(page: str) -> dict[str, str]:
    """Return the texts of the fields of a form."""
    texts = dict(re.findall(r'name="(\w+)" value="([^"]*)"', page))
    texts |= dict(re.findall(r'<textarea id="f-\w+" name="(\w+)"[^>]*>\n([^<]*)</textarea>', page))
    return {name: unescape(text) for name, text in texts.items()}


def wrong(page: httpx.Response) -> set[str]:
    """Return the fields at which an error stands."""
    assert 'role="alert"' in page.text
    return set(re.findall(r'<p class="wrong" id="e-(\w+)">', page.text))


def stored(database: Database, run: int) -> queries.RunSummary:
    with database.reading() as session:
        return queries.run(session, run)


def test_name_tags_and_priority_are_changed(http: httpx.Client, run: int, database: Database) -> None:
    form = f"/runs/{run}/change"
    shown = fields(http.get(form).text)
    assert "nothing" in http.post(form, data=shown).headers["location"]
    changed = shown | {"name": " <b>after</b> ", "tags": "second, night-1", "priority": "-7"}
    assert http.post(form, data=changed).status_code == 303
    page = http.get(f"/runs/{run}").text
    for text in ("&lt;b&gt;after&lt;/b&gt;", "Priority -7", 'href="/?tag=night-1"', 'href="/?tag=second"'):
        assert text in page
    assert f'id="run-{run}"' in http.get("/?tag=night-1").text
    for name, text in (
        *(("name", ""), ("name", "a\0b"), ("name", "n" * 201)),
        *(("tags", "good /bad"), ("tags", " ".join(f"t{k}" for k in range(21)))),
        *(("priority", "1001"), ("priority", "high"), ("priority", "")),
    ):
        refused = http.post(form, data=changed | {"name": "new", name: text})
        assert (refused.status_code, wrong(refused)) == (422, {name}), text
    with database.reading() as session:
        assert queries.tags(session, [run])[run] == ["night-1", "second"]
    assert (stored(database, run).name, stored(database, run).priority) == ("<b>after</b>", -7)
    foreign = http.post(form, data={"name": "x"}, headers={"Origin": "http://evil.example"})
    assert (foreign.status_code, stored(database, run).name) == (403, "<b>after</b>")


def test_a_finished_run_is_only_renamed(http: httpx.Client, run: int, database: Database) -> None:
    form = f"/runs/{run}/change"
    before = fields(http.get(form).text)
    http.post(f"/runs/{run}/cancel")
    assert {"priority", "window", "deadline"}.isdisjoint(fields(http.get(form).text))
    late = http.post(form, data=before | {"name": "late", "priority": "3"})
    assert (late.status_code, fields(late.text)["name"], stored(database, run).priority) == (409, "late", 0)
    assert http.post(form, data=before | {"name": "late"}).status_code == 303
    assert stored(database, run).name == "late"


def test_hours_are_changed_by_the_clock_of_their_zone(
    http: httpx.Client, run: int, database: Database
) -> None:
    form = f"/runs/{run}/change"
    shown = fields(http.get(form).text)
    assert (shown["window"], shown["tz"], shown["deadline"]) == ("", "UTC", "")
    hours = {"window": "mon-fri  22:00-06:00\r\n\r\nsat,sun 00:00-24:00", "tz": "Europe/London"}
    assert http.post(form, data=shown | hours | {"deadline": "2100-07-01T06:00"}).status_code == 303
    row = stored(database, run)
    assert row.window == {"spans": ["mon-fri 22:00-06:00", "sat,sun 00:00-24:00"], "zone": "Europe/London"}
    assert row.deadline_at == datetime(2100, 7, 1, 5, tzinfo=UTC)
    page = http.get(form)
    assert '<time datetime="2100-07-01T05:00:00Z">' in page.text
    shown = fields(page.text)
    assert (shown["deadline"], shown["tz"]) == ("2100-07-01T06:00", "Europe/London")
    # A deadline is read by the clock of the zone next to it, also where only the zone is changed.
    assert http.post(form, data=shown | {"tz": "America/New_York"}).status_code == 303
    assert stored(database, run).deadline_at == datetime(2100, 7, 1, 10, tzinfo=UTC)
    shown = fields(http.get(form).text)
    assert http.post(form, data=shown | {"window": "", "deadline": ""}).status_code == 303
    assert (stored(database, run).window, stored(database, run).deadline_at) == (None, None)


WRONG: tuple[dict[str, str], ...] = (
    {"window": "sometimes"},
    {"window": "25:00-26:00"},
    {"window": "foo 22:00-06:00"},
    {"window": "08:00-08:00"},
    {"window": "\n".join(["22:00-06:00"] * 51)},
    {"tz": "Atlantis/Capital", "window": "22:00-06:00"},
    {"deadline": "tomorrow"},
    {"deadline": "2001-01-01T00:00"},
    {"deadline": "9999-12-31T23:59", "tz": "America/New_York"},
    {"budget_s": "0"},
    {"budget_s": "many"},
)


def test_an_error_is_at_its_field_and_nothing_is_lost(
    http: httpx.Client, run: int, database: Database
) -> None:
    before, shown = stored(database, run), fields(http.get(f"/runs/{run}/change").text)
    for edited in WRONG:
        form = shown | {"name": "new", "tags": "a b"} | edited
        refused = http.post(f"/runs/{run}/change", data=form)
        assert (refused.status_code, wrong(refused)) == (422, {next(iter(edited))}), edited
        assert fields(refused.text) == form
    assert stored(database, run) == before


def test_only_what_was_edited_is_changed(http: httpx.Client, run: int, database: Database) -> None:
    form = fields(http.get(f"/runs/{run}/change").text)
    control.change_run(database, run, {"priority": 5, "deadline": "2100-01-01T00:00"})
    refused = http.post(f"/runs/{run}/change", data=form | {"name": ""})
    assert http.post(f"/runs/{run}/change", data=fields(refused.text) | {"name": "new"}).status_code == 303
    row = stored(database, run)
    assert (row.name, row.priority, row.deadline_at is None) == ("new", 5, False)
    odd = {"name": "newer", "priority": "5", "seen": '{"name": ['}
    assert http.post(f"/runs/{run}/change", data=odd).status_code == 303
    assert stored(database, run).name == "newer"


def test_only_an_admin_changes_a_budget(
    http: httpx.Client, address: str, run: int, database: Database
) -> None:
    form = f"/runs/{run}/change"
    assert http.post(form, data=fields(http.get(form).text) | {"budget_s": "2.5"}).status_code == 303
    assert fields(http.get(form).text)["budget_s"] == "2.5"
    with client(address, keys.add(database, "lab", keys.Scope.SUBMIT, all_runs=True).key) as other:
        assert "budget_s" not in fields(other.get(form).text)
    assert http.post(form, data=fields(http.get(form).text) | {"budget_s": ""}).status_code == 303
    assert stored(database, run).budget_us is None
