"""The caller of a request, by its header `Authorization: Bearer KEY`, and what their scope allows."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from typing import Annotated
from urllib.parse import urlsplit

from cachetools import TTLCache
from fastapi import Depends, Request

from producer.api.keys import keys, limits
from producer.api.keys.failed_logins import FailedLogins
from producer.api.keys.keys import Caller, Scope
from producer.api.keys.last_use import LastUse
from producer.api.keys.rates import RequestRate
from producer.api.load.pools import Pools
from schema.database import Database
from schema.errors import RequestRefused

_NOBODY = Caller(None, "this machine", Scope.ADMIN)
_HINT = "send `Authorization: Bearer KEY`; the operator adds keys with `annealq keys add NAME`"
_LOCAL = ("127.0.0.1", "::1", "localhost")
_RECENT_S = 1.0  # a revoked key can be used this much longer
_MAX_RECENT = 10_000


class Authenticator:
    """Identifies callers by their keys; those of the last second without a query.

    ``is_private``: only this machine can reach the API, so that no key is needed until the first is added.
    """

    def __init__(self, database: Database, pools: Pools, *, is_private: bool) -> None:
        self._database, self._pools, self._is_private = database, pools, is_private
        self.last_use, self._failed_logins = LastUse(database), FailedLogins()
        # By the hash of the key. Used in the event loop only.
        self._recent: TTLCache[bytes, Caller] = TTLCache(_MAX_RECENT, _RECENT_S)

    async def identify(self, request: Request) -> Caller:
        """Return the caller of ``request``, whose body is not read.

        Raises:
            RequestRefused: 401, no valid key; 403, a page of another site sent it; 429, too many requests.
        """
        key = _bearer(request)
        digest = b"" if key is None else hashlib.sha256(key.encode()).digest()
        caller = self._recent.get(digest)
        if caller is None:
            caller = await self._pools.keys.run(self._identify, key, _address(request))
            self._recent[digest] = caller
        if caller.owner_id is None:
            _refuse_foreign_pages(request)
        if caller.limits.requests_per_minute is not None:
            request.state.rate = rate = await self._pools.writes.run(self._count, caller)
            if rate is not None:
                limits.refuse_more(caller, rate)
        return caller

    def authenticate_browser(self, request: Request, scope: Scope, cookie: str | None) -> Caller:
        """Do as `identify` for a browser's ``request`` with a key in a ``cookie``, and check ``scope``."""
        caller = self._identify(_bearer(request) or cookie, _address(request), counts=_is_login(request))
        if caller.owner_id is None:
            _refuse_foreign_pages(request)
        _check(caller, scope)
        if (rate := self._count(caller)) is not None:
            limits.refuse_more(caller, rate)
        return caller

    def _identify(self, key: str | None, address: str | None, *, counts: bool = True) -> Caller:
        """Return the caller with ``key``; a wrong one ``counts`` against the limit of its ``address``."""
        with self._database.reading() as session:
            now = self._database.now(session)
            caller = None if key is None else keys.identify(session, key, now)
            if key is None and self._is_private and not keys.exist(session):
                return _NOBODY
        if key is None:
            raise RequestRefused("no API key came with the request", 401, _HINT)
        if caller is None:
            if counts:
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
        _check(caller, scope)
        return caller

    allowed.scope = scope  # type: ignore[attr-defined] # read by the description of the API
    return allowed


Reader = Annotated[Caller, Depends(requires(Scope.READ))]
Submitter = Annotated[Caller, Depends(requires(Scope.SUBMIT))]
Admin = Annotated[Caller, Depends(requires(Scope.ADMIN))]


def _check(caller: Caller, scope: Scope) -> None:
    if not caller.scope.allows(scope):
        raise RequestRefused(
            f"key {caller.name!r} has scope {caller.scope}, but this needs scope {scope}",
            403,
            f"use a key of scope {scope}: `annealq keys add NAME --scope {scope}`",
        )


def _address(request: Request) -> str | None:
    return None if request.client is None else request.client.host


def _is_login(request: Request) -> bool:
    # A cookie that has become stale is nobody's attempt to log in: a page sends it every few seconds.
    return request.scope["path"].endswith("/login") or _bearer(request) is not None


def _bearer(request: Request) -> str | None:
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" and key.strip() else None


def _refuse_foreign_pages(request: Request) -> None:
    """Refuse requests that a page of another site sends from a browser on this machine."""
    origin = request.headers.get("origin")
    try:
        host = urlsplit(f"//{request.headers.get('host', '')}").hostname
        is_foreign = origin is not None and urlsplit(origin).netloc != request.headers.get("host")
    except ValueError:  # brackets that do not match
        host, is_foreign = None, True
    if host not in _LOCAL or is_foreign:
        raise RequestRefused(
            "without an API key, only programs on this machine are served",
            403,
            "add a key with `annealq keys add NAME`, and send it",
        )
