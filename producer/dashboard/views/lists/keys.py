"""API keys, and what was used of their limits; admins add owners with a first key."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

from sqlalchemy.orm import Session
from starlette.responses import Response

from producer.dashboard.web import forms
from producer.dashboard.web.tables import Cell, Link, Mark, PageTable
from producer.dashboard.web.visit import Visit
from producer.webhooks.kinds import BY_DEFAULT, Kind
from schema.errors import InputError, ParameterError, RequestRefused

SCOPES = ("submit", "read", "admin")
SETTINGS = (
    *("scope", "all_runs", "sees", "requests_per_minute", "images_per_day", "qpu_s_per_day"),
    *("webhook_url", "webhook_events"),
)
"""The fields of an owner, by the names that the API has for them."""

_DAY = timedelta(days=1)
_NEW = {"scope": "submit", "webhook_events": " ".join(BY_DEFAULT)}


class KeyRow(Protocol):
    """What is shown of a key; `producer.api.keys.listing.KeySummary` has it."""

    @property
    def name(self) -> str: ...
    @property
    def prefix(self) -> str: ...
    @property
    def scope(self) -> str: ...
    @property
    def all_runs(self) -> bool: ...
    @property
    def sees(self) -> tuple[str, ...]: ...
    @property
    def requests_per_minute(self) -> int | None: ...
    @property
    def images_per_day(self) -> int | None: ...
    @property
    def images_today(self) -> int: ...
    @property
    def qpu_s_per_day(self) -> float | None: ...
    @property
    def created_at(self) -> datetime: ...
    @property
    def expires_at(self) -> datetime | None: ...
    @property
    def last_used_at(self) -> datetime | None: ...
    def state(self, now: datetime) -> str: ...


class MadeKey(Protocol):
    """A key that was made; `producer.api.keys.keys.NewKey` has it."""

    @property
    def name(self) -> str: ...
    @property
    def key(self) -> str: ...
    @property
    def expires_at(self) -> datetime | None: ...
    @property
    def webhook_secret(self) -> str | None: ...


class KeyPages:
    """Keys: ``read`` returns all of them at a time; ``add`` adds an owner from the body of POST /v1/keys."""

    def __init__(
        self,
        read: Callable[[Session, datetime], Sequence[KeyRow]],
        add: Callable[[Mapping[str, Any]], MadeKey],
    ) -> None:
        self._read, self._add = read, add

    def show(self, visit: Visit) -> Response:
        """Show all keys to an admin, and to others those of the owner of ``visit``."""
        return self._listing(visit, _NEW, None)

    def add(self, visit: Visit) -> Response:
        """Add the owner in the form of ``visit`` with its first key, and show that once."""
        visit.check_may_act(admin=True)
        texts = forms.sent_texts(visit, ("name", "expires_in", *SETTINGS))
        try:
            values = typed_settings(texts, SETTINGS) | {"name": texts["name"]}
            if (lifetime := lifetime_of(visit)) is not None:
                values["expires_after_days"] = lifetime / _DAY
            made = self._add(values)
        except RequestRefused:
            raise
        except InputError as error:
            return self._listing(visit, texts, error)
        return show_once(visit, made, "added")

    def _listing(self, visit: Visit, texts: Mapping[str, str], error: InputError | None) -> Response:
        is_admin = visit.visitor.is_admin
        with visit.database.reading() as session:
            now = visit.database.now(session)
            keys = self._read(session, now)
        if not is_admin:
            keys = [key for key in keys if key.name == visit.visitor.name]
        columns = (
            *("owner", "key", "state", "scope", "sees runs of", "images today", "images a day"),
            *("requests a minute", "QPU seconds a day", "last used", "expires"),
        )
        listing = PageTable(
            title="",
            caption="newest first; days are UTC",
            columns=(*columns, "") if is_admin else columns,
            rows=[_row(key, now, is_admin=is_admin) for key in keys],
            empty="No key yet: add an owner below." if is_admin else "No key yet: annealq keys add NAME.",
        )
        return visit.render(
            "keys.html.j2",
            200 if error is None else 422,
            title="Keys",
            listing=listing,
            is_admin=is_admin,
            values={"name": "", "expires_in": "", **dict.fromkeys(SETTINGS, ""), **texts},
            scopes=SCOPES,
            kinds=list(Kind),
            error=error,
        )


def typed_settings(texts: Mapping[str, str], names: Sequence[str]) -> dict[str, Any]:
    """Return the fields ``names`` of an owner from their ``texts``, as the JSON of the API has them.

    Raises:
        ParameterError: there is a webhook without any kind of messages.
    """
    values: dict[str, Any] = {}
    for name in names:
        text = texts[name]
        if name == "all_runs":
            values[name] = text == "yes"
        elif name == "sees":
            values[name] = text.replace(",", " ").split()
        elif name == "webhook_events":
            values[name] = _kinds(text.split(), has_webhook=bool(texts["webhook_url"]))
        else:
            values[name] = text if name == "scope" else text or None
    return values


def _kinds(names: Sequence[str], *, has_webhook: bool) -> list[str] | None:
    if has_webhook and not names:
        raise ParameterError("choose at least one kind of messages, or remove the address", "webhook_events")
    return list(names) if names and set(names) != set(BY_DEFAULT) else None


def lifetime_of(visit: Visit) -> timedelta | None:
    """Return the time after which the key in the form of ``visit`` expires; None: never.

    Raises:
        ParameterError: it is not a length of time, or none at all.
    """
    lifetime = forms.duration(visit, "expires_in")
    if lifetime is not None and not lifetime:
        raise ParameterError("the key would have expired at once: give more than 0", "expires_in")
    return lifetime


def show_once(visit: Visit, made: MadeKey, done: str) -> Response:
    """Show the key that was ``made``, which no other page does."""
    return visit.render("new_key.html.j2", title=f"A key of {made.name} was {done}", made=made)


def _row(key: KeyRow, now: datetime, *, is_admin: bool) -> list[Cell]:
    state = key.state(now)
    sees = "all" if key.all_runs or key.scope == "admin" else ", ".join(key.sees) or "its own"
    cells: list[Cell] = [
        Link(key.name, f"/keys/{key.name}") if is_admin else key.name,
        f"{key.prefix}_...",
        Mark(state, "right" if state == "valid" else "soft"),
        key.scope,
        sees,
        key.images_today,
        key.images_per_day,
        key.requests_per_minute,
        key.qpu_s_per_day,
        key.last_used_at,
        key.expires_at,
    ]
    return [*cells, Link("Change", f"/keys/{key.name}")] if is_admin else cells
