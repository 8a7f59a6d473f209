"""API keys, and what was used of their limits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol

from sqlalchemy.orm import Session
from starlette.responses import Response

from producer.dashboard.web.tables import Cell, Mark, PageTable
from producer.dashboard.web.visit import Visit


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


class KeyPage:
    """The page of keys; ``read`` returns all of them at a time."""

    def __init__(self, read: Callable[[Session, datetime], Sequence[KeyRow]]) -> None:
        self._read = read

    def show(self, visit: Visit) -> Response:
        """Show all keys to an admin, and to others those of the owner of ``visit``."""
        with visit.database.reading() as session:
            now = visit.database.now(session)
            keys = self._read(session, now)
        if not visit.visitor.is_admin:
            keys = [key for key in keys if key.name == visit.visitor.name]
        listing = PageTable(
            title="",
            caption="newest first; days are UTC",
            columns=(
                *("owner", "key", "state", "scope", "sees runs of", "images today", "images a day"),
                *("requests a minute", "QPU seconds a day", "last used", "expires"),
            ),
            rows=[_row(key, now) for key in keys],
            empty="No key yet: annealq keys add NAME.",
        )
        return visit.render_listings("Keys", [listing])


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
