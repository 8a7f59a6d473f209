"""The caller of a request, by its header `Authorization: Bearer KEY`, and what their scope allows."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated

from cachetools import TTLCache
from fastapi import Depends, Request

from producer.api.keys import keys, limits, sessions
from producer.api.keys.failed_logins import FailedLogins
from producer.api.keys.keys import Caller, Scope
from producer.api.keys.last_use import LastUse
from producer.api.keys.origins import refuse_all_but_local
from producer.api.keys.rates import RequestRate
from producer.api.load.pools import Pools
from schema.database import Database
from schema.errors import RequestRefused, StorageError

_THIS_MACHINE = Caller(None, "this machine", Scope.ADMIN)
SESSION = timedelta(days=7)
_HINT = "send `Authorization: Bearer KEY`: `annealq keys token` on this machine, or `annealq keys add NAME`"
_RECENT_S = 1.0  # a revoked key can be used this much longer
_MAX_RECENT = 10_000


@dataclass(frozen=True)
class LocalAccess:
    """Who needs no API key: nobody, by default.

    Attributes:
        token: of this machine's user, accepted like a key of scope admin; None: not accepted.
        is_open: programs on this machine need neither a key nor the token.
    """

    token: str | None = None
    is_open: bool = False


class Authenticator:
    """Identifies callers by their keys, and visitors by their sessions.

    Callers of the last second need no query.
    """

    def __init__(self, database: Database, pools: Pools, local: LocalAccess) -> None:
        self._database, self._pools, self._local = database, pools, local
        self.last_use, self._failed_logins = LastUse(database), FailedLogins()
        # By the hash of the key. Used in the event loop only.
        self._recent: TTLCache[bytes, Caller] = TTLCache(_MAX_RECENT, _RECENT_S)

    async def identify(self, request: Request) -> Caller:
        """Return the caller of ``request``, whose body is not read.

        Raises:
            RequestRefused: 401, no valid key; 403, a page of another site sent it; 429, too many requests.
        """
        caller = await self._caller(request)
        if caller.limits.requests_per_minute is not None:
            request.state.rate = rate = await self._pools.writes.run(self._count, caller)
            if rate is not None:
                limits.refuse_more(caller, rate)
        return caller

    @property
    def is_open(self) -> bool:
        """Return whether programs on this machine need no key."""
        return self._local.is_open

    async def is_still_valid(self, request: Request) -> bool:
        """Return whether the key of ``request`` has neither expired nor been revoked since it was sent."""
        try:
            await self._caller(request)
        except RequestRefused as refused:
            return refused.status == 503
        except StorageError:
            pass  # it is not known
        return True

    async def _caller(self, request: Request) -> Caller:
        key = _bearer(request)
        if key is None or self._is_local(key):
            return self._without_key(request, key)
        digest = hashlib.sha256(key.encode()).digest()
        caller = self._recent.get(digest)
        if caller is None:
            caller = await self._pools.keys.run(self._identify, key, _address(request))
            self._recent[digest] = caller
        return caller

    def identify_visitor(self, request: Request, scope: Scope, cookie: str | None) -> Caller:
        """Return who sends a browser's ``request`` with a session's ``cookie``, if they have ``scope``.

        A cookie that is not valid counts as none: it may be that of another server.

        Raises:
            RequestRefused: as `identify` says, or 403, the scope does not suffice.
        """
        key = _bearer(request)
        caller = None if key is not None or cookie is None else self._of_session(cookie)
        if caller is None:
            if key is None or self._is_local(key):
                caller = self._without_key(request, key)
            else:
                caller = self._identify(key, _address(request))
        check_scope(caller, scope)
        if (rate := self._count(caller)) is not None:
            limits.refuse_more(caller, rate)
        return caller

    def begin_session(self, request: Request, key: str) -> str:
        """Begin a session of the pages with ``key``, or this machine's token; return its cookie.

        Raises:
            RequestRefused: 401, the key is not valid; 429, its address sent too many that are not.
        """
        caller = _THIS_MACHINE if self._is_local(key) else self._identify(key, _address(request))
        check_scope(caller, Scope.READ)
        return sessions.create(self._database, caller.key_id, SESSION)

    def end_session(self, cookie: str) -> None:
        """End the session of ``cookie``, if there is one."""
        sessions.revoke(self._database, cookie)

    def _is_local(self, key: str | None) -> bool:
        token = self._local.token
        return token is not None and key is not None and hmac.compare_digest(key.encode(), token.encode())

    def _without_key(self, request: Request, key: str | None) -> Caller:
        """Return the caller of a ``request`` whose ``key`` is this machine's token, or None."""
        if key is None:
            if not self._local.is_open:
                raise RequestRefused("no API key came with the request", 401, _HINT)
            refuse_all_but_local(request)
        return _THIS_MACHINE

    def _of_session(self, cookie: str) -> Caller | None:
        with self._database.reading() as session:
            found = sessions.find(session, cookie, self._database.now(session))
        if found is None or (found.caller is None and self._local.token is None):
            return None
        self.last_use.note(session=found.id)
        return found.caller or _THIS_MACHINE

    def _identify(self, key: str, address: str | None) -> Caller:
        """Return the caller with ``key``; a wrong one counts against the limit of its ``address``."""
        with self._database.reading() as session:
            caller = keys.identify(session, key, self._database.now(session))
        if caller is None:
            self._failed_logins.count(key, address)
            raise RequestRefused("this API key is not valid", 401, _HINT)
        self.last_use.note(key=caller.key_id)
        return caller

    def _count(self, caller: Caller) -> RequestRate | None:
        """Count a request of ``caller``; return what is left, or None without a limit."""
        limit = caller.limits.requests_per_minute
        if caller.owner_id is None or limit is None:
            return None
        with self._database.transaction() as session:
            return limits.count_request(session, caller.owner_id, limit, self._database.now(session))


def requires(scope: Scope) -> Callable[[Request], Awaitable[Caller]]:
    """Return a dependency that yields the caller, if they may do what needs ``scope``.

    `KeyCheck` has identified the caller before the body was read.
    """

    async def allowed(request: Request) -> Caller:
        caller: Caller = request.state.caller
        check_scope(caller, scope)
        return caller

    allowed.scope = scope  # type: ignore[attr-defined] # read by the description of the API
    return allowed


Reader = Annotated[Caller, Depends(requires(Scope.READ))]
Submitter = Annotated[Caller, Depends(requires(Scope.SUBMIT))]
Admin = Annotated[Caller, Depends(requires(Scope.ADMIN))]


def check_scope(caller: Caller, scope: Scope) -> None:
    """Raise RequestRefused (403) if ``caller`` may not do what needs ``scope``."""
    if not caller.scope.allows(scope):
        raise RequestRefused(
            f"key {caller.name!r} has scope {caller.scope}, but this needs scope {scope}",
            403,
            f"use a key of scope {scope}: `annealq keys add NAME --scope {scope}`",
        )


def _address(request: Request) -> str | None:
    return None if request.client is None else request.client.host


def _bearer(request: Request) -> str | None:
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" and key.strip() else None
