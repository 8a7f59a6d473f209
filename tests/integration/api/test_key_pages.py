"""Pages of keys: owners are added and changed; their keys are rotated, expire and are revoked."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape

import httpx
import pytest
from sqlalchemy import select

from producer.api.keys import keys, owners
from producer.api.keys.keys import KeyLimits, Scope
from producer.api.keys.owners import OwnerSummary
from schema.database import Database
from schema.tables.api import ApiKey, Delivery
from tests.serving import client

EVIL = {"Origin": "http://evil.example"}
NEW = {"name": "lab", "scope": "read", "webhook_events": "ended", "expires_in": "30d"}


@pytest.fixture
def http(http: httpx.Client, database: Database) -> httpx.Client:
    keys.add(database, "other", Scope.SUBMIT)
    return http


def owner(database: Database, name: str = "lab") -> OwnerSummary:
    with database.reading() as session:
        return owners.find(session, name, database.now(session))


def shown_key(answer: httpx.Response) -> str:
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    (key,) = set(re.findall(r"aq_[0-9a-f]{8}_[A-Za-z0-9_-]{43}", answer.text))
    return key


def wrong(page: httpx.Response) -> set[str]:
    """Return the fields that a refused form names."""
    assert (page.status_code, 'role="alert"' in page.text) == (422, True), page.text
    return set(re.findall(r'<p class="wrong" id="e-(\w+)">', page.text))


def form(page: str, address: str) -> dict[str, str | list[str]]:
    """Return what a browser would send of the form that goes to ``address``."""
    text = page.partition(f'<form method="post" action="{address}"')[2].partition("</form>")[0]
    sent: dict[str, str | list[str]] = {}
    for tag in re.findall(r"<input [^>]*>", text):
        found = {name: unescape(value) for name, value in re.findall(r'(\w+)="([^"]*)"', tag)}
        if found.get("type") != "checkbox":
            sent[found["name"]] = found["value"]
        elif tag.endswith(" checked>"):
            before = sent.setdefault(found["name"], [])
            assert isinstance(before, list)
            before.append(found["value"])
    scopes = re.findall(r"<option selected>(\w+)</option>", text)
    return sent | {"scope": scopes[0] if scopes else "submit"}


def test_keys_are_added_rotated_and_revoked(
    http: httpx.Client, address: str, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")

    def works(key: str) -> bool:
        with database.reading() as session:  # a server remembers a key for a second
            return keys.identify(session, key, database.now(session)) is not None

    first = shown_key(http.post("/keys", data=NEW))
    assert wrong(http.post("/keys", data=NEW)) == {"name"}, "it is taken"
    with client(address, first) as other:
        me = other.get("/v1/me").json()
        assert (me["name"], me["scope"]) == ("lab", "read")
        assert other.post("/keys", data=NEW).status_code == 403
    for grace in ("", "-1", "soon"):
        assert wrong(http.post("/keys/lab/rotate", data={"grace": grace})) == {"grace"}
    assert wrong(http.post("/keys/lab/rotate", data={"grace": "1h", "expires_in": "0s"})) == {"expires_in"}
    second = shown_key(http.post("/keys/lab/rotate", data={"grace": "1h"}))
    assert (works(first), works(second)) == (True, True), "within the grace"
    third = shown_key(http.post("/keys/lab/rotate", data={"grace": "0s"}))
    assert (works(first), works(second), works(third)) == (False, False, True)
    for path in (
        "/keys",
        "/keys/lab",
        *(f"/keys/lab/{act}" for act in ("rotate", "expire", "revoke", "test")),
    ):
        assert http.post(path, data=NEW, headers=EVIL).status_code == 403
    assert works(third)
    prefix = third[: third.index("_", 3)]
    assert f'value="{prefix}" selected' in http.get(f"/keys/lab/revoke?key={prefix}").text
    assert wrong(http.post("/keys/lab/expire", data={"key": prefix})) == {"after"}
    assert http.post("/keys/lab/expire", data={"key": prefix, "after": "2d"}).status_code == 303
    assert owner(database).keys[0].expires_at is not None
    for odd in ("aq_00000000", "a\0"):
        assert http.post("/keys/lab/revoke", data={"key": odd}).status_code == 404
    assert http.post("/keys/lab/revoke", data={"key": prefix}).status_code == 303
    assert not works(third)
    for path in (
        "/keys/lab/revoke",
        "/keys/nobody/rotate",
        "/keys/a%00/rotate",
        "/keys/lab/drop",
        "/keys/no",
    ):
        assert http.post(path, data={"grace": "0s"}).status_code == 404
    pages = http.get("/keys").text + http.get("/keys/lab").text
    with database.reading() as session:
        stored = str(session.execute(select(ApiKey.prefix, ApiKey.sha256)).all())
    for key in (first, second, third):
        assert key not in pages + caplog.text + stored


def test_an_owner_is_added_with_limits_and_a_webhook_or_told_why_not(
    http: httpx.Client, database: Database
) -> None:
    everything = NEW | {
        "sees": "other",
        "requests_per_minute": "60",
        "images_per_day": "1000",
        "qpu_s_per_day": "2.5",
        "webhook_url": "https://example.com/secret-path",
        "webhook_events": ["ended", "progress"],
    }
    for edited in (
        *({"name": "<b>"}, {"name": ""}, {"name": "n" * 65}, {"scope": "root"}, {"expires_in": "nan"}),
        *({"expires_in": "0s"}, {"sees": "nobody"}, {"sees": "<b>"}, {"sees": "other", "all_runs": "yes"}),
        *({"requests_per_minute": "0"}, {"requests_per_minute": "many"}, {"images_per_day": str(2**31)}),
        *({"qpu_s_per_day": "0"}, {"qpu_s_per_day": "nan"}, {"webhook_url": "ftp://example.com/"}),
        *({"webhook_url": "http://127.0.0.1/"}, {"webhook_events": []}, {"webhook_events": ["x"]}),
    ):
        refused = http.post("/keys", data=everything | edited)
        assert wrong(refused) == {next(iter(edited))}, edited
        sent = form(refused.text, "/keys")
        for name in everything.keys() - edited.keys() - {"scope"}:
            assert sent[name] == everything[name], (edited, name)
    shown_key(http.post("/keys", data=everything))
    made = owner(database)
    assert made.limits == KeyLimits(60, 1_000, 2_500_000)
    assert (made.scope, made.sees, made.all_runs) == (Scope.READ, ("other",), False)
    assert made.webhook_events == ("ended", "progress")
    assert made.webhook_url == "https://example.com/secret-path"
    (key,) = made.keys
    assert key.expires_at is not None
    assert key.expires_at - key.created_at == timedelta(days=30)


def test_only_what_was_edited_of_an_owner_is_changed(
    http: httpx.Client, address: str, database: Database
) -> None:
    key = keys.add(database, "lab", Scope.SUBMIT, KeyLimits(images_per_day=9), sees=["other"]).key
    here = "/keys/lab"
    page = form(http.get(here).text, here)
    assert "nothing" in http.post(here, data=page).headers["location"]
    owners.change(database, "lab", {"requests_per_minute": 7})
    limits = {"images_per_day": "12", "qpu_s_per_day": "1.5", "webhook_url": "https://example.com/"}
    assert http.post(here, data=page | limits).status_code == 303
    changed = owner(database)
    assert changed.limits == KeyLimits(7, 12, 1_500_000)
    assert (changed.webhook_url, changed.webhook_events, changed.sees) == (
        *("https://example.com/", None),
        ("other",),
    )
    with client(address, key) as lab:
        assert lab.get("/v1/me").json()["limits"]["images_per_day"] == 12
        assert lab.get(here).status_code == 403
    page = form(http.get(here).text, here)
    for edited in ({"images_per_day": "-1"}, {"sees": "nobody"}, {"all_runs": "yes", "sees": "other lab"}):
        refused = http.post(here, data=page | edited)
        assert wrong(refused) <= {"images_per_day", "sees"}
        now = owner(database)
        assert (now.limits, now.sees, now.all_runs) == (changed.limits, changed.sees, False)
    assert http.post(here, data=page | {"all_runs": "yes"}).status_code == 303
    assert (owner(database).all_runs, owner(database).sees) == (True, ())
    page = form(http.get(here).text, here)
    assert (
        http.post(here, data=page | {"images_per_day": "", "all_runs": [], "scope": "read"}).status_code
        == 303
    )
    assert (owner(database).all_runs, owner(database).scope) == (False, Scope.READ)
    assert owner(database).limits == KeyLimits(7, None, 1_500_000)


def test_who_loses_scope_admin_sees_only_its_own_runs(database: Database) -> None:
    keys.add(database, "lab", Scope.ADMIN)
    owners.change(database, "lab", {"scope": "submit"})
    assert (owner(database).scope, owner(database).all_runs) == (Scope.SUBMIT, False)


def test_the_webhook_of_an_owner_is_tested(http: httpx.Client, database: Database) -> None:
    keys.add(database, "lab", Scope.SUBMIT)
    for url in ("", "ftp://example.com/", "http://127.0.0.1:9/"):
        wrong(http.post("/keys/lab/test", data={"url": url}))
    sent = http.post("/keys/lab/test", data={"url": "https://example.com/secret-path"})
    assert sent.status_code == 303
    page = http.get(sent.headers["location"]).text
    assert ("webhook.test" in page, "secret-path" in page) == (True, False)
    with database.reading() as session:
        assert session.execute(select(Delivery.event)).scalars().all() == ["test"]
