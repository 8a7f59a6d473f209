"""API keys, and what was used of their limits; admins add, rotate and revoke them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from sqlalchemy.orm import Session
from starlette.responses import Response

from producer.dashboard.web.tables import Cell, Link, Mark, PageTable
from producer.dashboard.web.visit import Visit
from schema.database import Database
from schema.errors import InputError, NotFound, ParameterError, RequestRefused
from schema.quantities import count_text

_SCOPES = ("submit", "read", "admin")
_ACTIONS = ("rotate", "revoke")
_GRACE_HOURS, _MOST_HOURS = 24.0, 8_760.0
_MOST_DAYS = 36_500.0


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


class KeyChanges(Protocol):
    """Makes and ends keys of owners; each function raises what `producer.api.keys.keys` says."""

    def add(
        self, database: Database, name: str, scope: str, all_runs: bool, lifetime: timedelta | None
    ) -> MadeKey: ...
    def rotate(
        self, database: Database, name: str, grace: timedelta, lifetime: timedelta | None
    ) -> MadeKey: ...
    def revoke(self, database: Database, name: str, prefix: str | None) -> int: ...


class KeyPages:
    """Keys: ``read`` returns all of them at a time, ``changes`` makes and ends them."""

    def __init__(self, read: Callable[[Session, datetime], Sequence[KeyRow]], changes: KeyChanges) -> None:
        self._read, self._changes = read, changes

    def show(self, visit: Visit) -> Response:
        """Show all keys to an admin, and to others those of the owner of ``visit``."""
        return self._listing(visit, None)

    def add(self, visit: Visit) -> Response:
        """Add the owner in the form of ``visit`` with its first key, and show that once."""
        visit.check_may_act(admin=True)
        try:
            scope = str(visit.form.get("scope", ""))
            if scope not in _SCOPES:
                raise ParameterError(f"scope {scope!r:.50} is not known: choose {', '.join(_SCOPES)}")
            name = str(visit.form.get("name", "")).strip()
            all_runs = visit.form.get("all_runs") == "yes"
            made = self._changes.add(visit.database, name, scope, all_runs, _lifetime(visit))
        except RequestRefused:
            raise
        except InputError as error:
            return self._listing(visit, error)
        return _show_once(visit, made, "added")

    def ask(self, visit: Visit) -> Response:
        """Ask whether keys of the owner in ``visit`` are to be replaced or revoked."""
        visit.check_admin()
        return self._ask(visit, None)

    def act(self, visit: Visit) -> Response:
        """Replace the keys of the owner in ``visit`` by a new one, which is shown once, or revoke them."""
        visit.check_may_act(admin=True)
        name, action = _asked(visit)
        if action == "revoke":
            prefix = str(visit.form.get("key", "")) or None
            if prefix is not None and not prefix.isprintable():
                raise NotFound(f"{name!r} has no key {prefix!r:.50}: choose one of the page")
            count = self._changes.revoke(visit.database, name, prefix)
            return visit.go("/keys", f"{count_text(count, 'key')} of {name} revoked")
        try:
            hours = _number(visit, "grace_hours", 0.0, _MOST_HOURS)
            grace = timedelta(hours=_GRACE_HOURS if hours is None else hours)
            made = self._changes.rotate(visit.database, name, grace, _lifetime(visit))
        except ParameterError as error:
            return self._ask(visit, error)
        return _show_once(visit, made, "replaced")

    def _ask(self, visit: Visit, error: InputError | None) -> Response:
        name, action = _asked(visit)
        with visit.database.reading() as session:
            now = visit.database.now(session)
            keys = [key for key in self._read(session, now) if key.name == name and key.state(now) == "valid"]
        if not keys and action == "revoke":
            raise NotFound(f"{name!r} has no valid key: the page of keys lists all of them")
        return visit.render(
            "ask_key.html.j2",
            200 if error is None else 422,
            title=f"{action.capitalize()} keys of {name}?",
            name=name,
            action=action,
            chosen=visit.asked("key"),
            keys=[key.prefix for key in keys],
            grace_hours=f"{_GRACE_HOURS:g}",
            error=error,
        )

    def _listing(self, visit: Visit, error: InputError | None) -> Response:
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
            columns=(*columns, "", "") if is_admin else columns,
            rows=[[*_row(key, now), *(_links(key, now) if is_admin else ())] for key in keys],
            empty="No key yet: annealq keys add NAME.",
        )
        return visit.render(
            "keys.html.j2",
            200 if error is None else 422,
            title="Keys",
            listing=listing,
            is_admin=is_admin,
            scopes=_SCOPES,
            values={name: str(visit.form.get(name, "")) for name in ("name", "scope", "expires_days")},
            error=error,
        )


def _asked(visit: Visit) -> tuple[str, str]:
    """Return owner and action of the path; raise NotFound for another action."""
    name, action = visit.request.path_params["name"], visit.request.path_params["act"]
    if action not in _ACTIONS or not name.isprintable():
        raise NotFound(f"there is no page /keys/{name!r:.80}/{action!r:.80}")
    return name, action


def _show_once(visit: Visit, made: MadeKey, done: str) -> Response:
    return visit.render("new_key.html.j2", title=f"A key of {made.name} was {done}", made=made)


def _lifetime(visit: Visit) -> timedelta | None:
    days = _number(visit, "expires_days", 0.001, _MOST_DAYS)
    return None if days is None else timedelta(days=days)


def _number(visit: Visit, name: str, least: float, most: float) -> float | None:
    """Return the number ``name`` of the form of ``visit``, None without one; raise ParameterError."""
    text = str(visit.form.get(name, "")).strip()
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not least <= value <= most:
        words = name.replace("_", " in ")
        raise ParameterError(f"{words}: {text!r:.50} is not a number from {least:g} to {most:,g}: correct it")
    return value


def _links(key: KeyRow, now: datetime) -> tuple[Cell, Cell]:
    at = f"/keys/{key.name}"
    revoke = Link("Revoke", f"{at}/revoke?key={key.prefix}") if key.state(now) == "valid" else None
    return Link("Rotate", f"{at}/rotate"), revoke


def _row(key: KeyRow, now: datetime) -> list[Cell]:
    state = key.state(now)
    sees = "all" if key.all_runs or key.scope == "admin" else ", ".join(key.sees) or "its own"
    return [
        key.name,
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
