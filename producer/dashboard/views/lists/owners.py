"""One owner of keys: what it may do, its keys and its webhook, and forms that change them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

from sqlalchemy.orm import Session
from starlette.responses import Response

from producer.dashboard.views.lists.keys import (
    SCOPES,
    SETTINGS,
    KeyRow,
    MadeKey,
    lifetime_of,
    show_once,
    typed_settings,
)
from producer.dashboard.web import forms
from producer.dashboard.web.tables import Cell, Link, Mark, PageTable
from producer.dashboard.web.visit import Visit
from producer.webhooks.kinds import BY_DEFAULT, Kind
from schema.errors import InputError, NotFound, ParameterError, RequestRefused
from schema.quantities import count_text

_ASKED = ("rotate", "expire", "revoke")
_GRACE = "24h"


class LimitsRow(Protocol):
    """Limits of an owner; `producer.api.keys.keys.KeyLimits` has them."""

    @property
    def requests_per_minute(self) -> int | None: ...
    @property
    def images_per_day(self) -> int | None: ...
    @property
    def qpu_us_per_day(self) -> int | None: ...


class LeftRow(Protocol):
    """What is left of them; `producer.api.keys.limits.LimitsLeft` has it."""

    @property
    def requests(self) -> int | None: ...
    @property
    def images(self) -> int | None: ...
    @property
    def qpu_s(self) -> float | None: ...
    @property
    def minute_ends_at(self) -> datetime: ...
    @property
    def day_ends_at(self) -> datetime: ...


class OwnerRow(Protocol):
    """What is shown of an owner; `producer.api.keys.owners.OwnerSummary` has it."""

    @property
    def name(self) -> str: ...
    @property
    def scope(self) -> str: ...
    @property
    def all_runs(self) -> bool: ...
    @property
    def sees(self) -> tuple[str, ...]: ...
    @property
    def limits(self) -> LimitsRow: ...
    @property
    def left(self) -> LeftRow: ...
    @property
    def webhook_url(self) -> str | None: ...
    @property
    def webhook_events(self) -> tuple[str, ...] | None: ...
    @property
    def keys(self) -> Sequence[KeyRow]: ...


class OwnerActions(Protocol):
    """What is read and done; each function raises what that of the API or of `annealq keys` does."""

    def find(self, session: Session, name: str, now: datetime) -> OwnerRow: ...
    def change(self, name: str, values: Mapping[str, Any]) -> None: ...
    def rotate(self, name: str, grace: timedelta, lifetime: timedelta | None) -> MadeKey: ...
    def expire(self, name: str, after: timedelta, prefix: str | None) -> int: ...
    def revoke(self, name: str, prefix: str | None) -> int: ...
    def send_test(self, name: str, url: str | None) -> int: ...


class OwnerPages:
    """The page of an owner, and questions before its keys are replaced, expire or are revoked."""

    def __init__(self, actions: OwnerActions) -> None:
        self._actions = actions

    def show(self, visit: Visit) -> Response:
        """Show the owner of ``visit`` to an admin."""
        visit.check_admin()
        return self._page(visit, {}, None)

    def change(self, visit: Visit) -> Response:
        """Change what was edited of the owner in the form of ``visit``."""
        visit.check_may_act(admin=True)
        texts = forms.sent_texts(visit, SETTINGS)
        seen = forms.seen_texts(visit, SETTINGS) or _texts(self._find(visit)[0])
        edited = [name for name in SETTINGS if texts[name].split() != seen[name].split()]
        try:
            self._actions.change(_name(visit), typed_settings(texts, edited))
        except RequestRefused:
            raise
        except InputError as error:
            return self._page(visit, texts, error)
        said = f"{_name(visit)} is changed" if edited else "nothing was changed"
        return visit.go(f"/keys/{_name(visit)}", said)

    def ask(self, visit: Visit) -> Response:
        """Ask whether keys of the owner in ``visit`` are to be replaced, to expire or to be revoked."""
        visit.check_admin()
        return self._ask(visit, None)

    def act(self, visit: Visit) -> Response:
        """Do what was asked about keys of the owner in ``visit``; a new key is shown once."""
        visit.check_may_act(admin=True)
        name, action = _name(visit), visit.request.path_params["act"]
        if action == "test":
            return self._send_test(visit)
        _check_action(visit)
        if action == "revoke":
            count = self._actions.revoke(name, _prefix(visit))
            return visit.go(f"/keys/{name}", f"{count_text(count, 'key')} revoked")
        try:
            if action == "expire":
                return self._expire(visit)
            grace = forms.duration(visit, "grace")
            if grace is None:
                raise ParameterError("say for how long earlier keys are valid: 24h, 7d, or 0s", "grace")
            made = self._actions.rotate(name, grace, lifetime_of(visit))
        except ParameterError as error:
            return self._ask(visit, error)
        return show_once(visit, made, "added")

    def _expire(self, visit: Visit) -> Response:
        after = forms.duration(visit, "after")
        if after is None:
            raise ParameterError("say when: 24h, or 7d", "after")
        count = self._actions.expire(_name(visit), after, _prefix(visit))
        said = f"{count_text(count, 'key')} will expire" if count else "all keys expire earlier"
        return visit.go(f"/keys/{_name(visit)}", said)

    def _send_test(self, visit: Visit) -> Response:
        try:
            url = str(visit.form.get("url", "")).strip() or None
            number = self._actions.send_test(_name(visit), url)
        except InputError as error:
            return self._page(visit, {}, error)
        return visit.go(
            f"/deliveries/{number}", "a test message is sent; load this page again for the answer"
        )

    def _find(self, visit: Visit) -> tuple[OwnerRow, datetime]:
        with visit.database.reading() as session:
            now = visit.database.now(session)
            return self._actions.find(session, _name(visit), now), now

    def _ask(self, visit: Visit, error: InputError | None) -> Response:
        action = _check_action(visit)
        owner, now = self._find(visit)
        keys = [key.prefix for key in owner.keys if key.state(now) == "valid"]
        if not keys and action != "rotate":
            raise NotFound(f"{owner.name!r} has no valid key: the page of keys lists all of them")
        sent = forms.sent_texts(visit, ("grace", "expires_in", "after", "key"))
        return visit.render(
            "ask_key.html.j2",
            200 if error is None else 422,
            title=f"{action.capitalize()} keys of {owner.name}?",
            name=owner.name,
            action=action,
            chosen=sent["key"] or visit.asked("key"),
            keys=keys,
            values=sent if visit.form else sent | {"grace": _GRACE},
            error=error,
        )

    def _page(self, visit: Visit, sent: Mapping[str, str], error: InputError | None) -> Response:
        owner, now = self._find(visit)
        stored = _texts(owner)
        return visit.render(
            "owner.html.j2",
            200 if error is None else 422,
            title=owner.name,
            here=f"{visit.root}/keys/{owner.name}",
            owner=owner,
            keys=_keys(owner, now),
            limits=_limits(owner),
            values={**stored, **sent},
            url=str(visit.form.get("url", "")),
            seen=json.dumps(forms.seen_texts(visit, SETTINGS) or stored),
            has_valid=any(key.state(now) == "valid" for key in owner.keys),
            scopes=SCOPES,
            kinds=list(Kind),
            error=error,
        )


def _name(visit: Visit) -> str:
    """Return the owner of the path; raise NotFound for what no owner can be called."""
    name: str = visit.request.path_params["name"]
    if not name.isprintable():
        raise NotFound(f"there is no owner {name!r:.80}")
    return name


def _check_action(visit: Visit) -> str:
    """Return the action of the path; raise NotFound for another one."""
    action: str = visit.request.path_params["act"]
    if action not in _ASKED:
        raise NotFound(f"there is no page /keys/{_name(visit)!r:.80}/{action!r:.80}")
    return action


def _prefix(visit: Visit) -> str | None:
    prefix = str(visit.form.get("key", "")) or None
    if prefix is not None and not prefix.isprintable():
        raise NotFound(f"{_name(visit)!r} has no key {prefix!r:.50}: choose one of the page")
    return prefix


def _texts(owner: OwnerRow) -> dict[str, str]:
    """Return the texts of the form of ``owner``."""
    limits, events = owner.limits, owner.webhook_events
    return {
        "scope": str(owner.scope),
        "all_runs": "yes" if owner.all_runs else "",
        "sees": " ".join(owner.sees),
        "requests_per_minute": str(limits.requests_per_minute or ""),
        "images_per_day": str(limits.images_per_day or ""),
        "qpu_s_per_day": "" if limits.qpu_us_per_day is None else f"{limits.qpu_us_per_day / 1e6:.12g}",
        "webhook_url": owner.webhook_url or "",
        "webhook_events": " ".join(kind for kind in Kind if kind in (events or BY_DEFAULT)),
    }


def _limits(owner: OwnerRow) -> PageTable:
    limits, left = owner.limits, owner.left
    qpu_s = None if limits.qpu_us_per_day is None else limits.qpu_us_per_day / 1e6
    rows: list[list[Cell]] = [
        ["requests a minute", limits.requests_per_minute, left.requests, left.minute_ends_at],
        ["images a day", limits.images_per_day, left.images, left.day_ends_at],
        ["QPU seconds a day", qpu_s, left.qpu_s, left.day_ends_at],
    ]
    return PageTable(
        title="Limits",
        caption="of all its keys together; days are UTC",
        columns=("limit", "allowed", "left", "until"),
        rows=[row for row in rows if row[1] is not None],
        empty="It has no limits.",
    )


def _keys(owner: OwnerRow, now: datetime) -> PageTable:
    return PageTable(
        title="Keys",
        caption="newest first",
        columns=("key", "state", "added", "last used", "expires", "", ""),
        rows=[_key(owner.name, key, now) for key in owner.keys],
        empty="It has no key.",
    )


def _key(name: str, key: KeyRow, now: datetime) -> list[Cell]:
    state = key.state(now)
    cells: list[Cell] = [
        f"{key.prefix}_...",
        Mark(state, "right" if state == "valid" else "soft"),
        key.created_at,
        key.last_used_at or "never",
        key.expires_at or "never",
    ]
    if state != "valid":
        return [*cells, None, None]
    links = (
        Link(word, f"/keys/{name}/{word.lower()}?key={key.prefix}", f"{word} key {key.prefix}")
        for word in ("Expire", "Revoke")
    )
    return [*cells, *links]
