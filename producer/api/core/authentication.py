"""Who sends a request, and whether they may: the header `Authorization: Bearer KEY`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request
from starlette.concurrency import run_in_threadpool

from producer.api.core import service
from producer.api.core.service import Service
from producer.api.keys import keys, limits
from producer.api.keys.keys import Caller, Scope
from schema.errors import RequestRefused

_NOBODY = Caller(None, "this machine", Scope.ADMIN)
_ADD = "send `Authorization: Bearer KEY`; the operator makes keys with `annealq keys add NAME`"
_LOCAL = ("127.0.0.1", "::1", "localhost")


def requires(scope: Scope) -> Callable[[Request], Awaitable[Caller]]:
    """A dependency: the caller, if they may do what ``scope`` stands for."""

    async def caller(request: Request) -> Caller:
        at, key = await service.of(request), _bearer(request)
        known = at.admitted.find(key)
        if known is None:
            known = await run_in_threadpool(identify, at, key)
            at.admitted.keep(key, known)
        if known.key_id is None:
            _refuse_foreign_pages(request)
        _check_scope(known, scope)
        if known.limits.requests_per_minute is not None:
            await run_in_threadpool(_count, at, known)
        return known

    return caller


Reader = Annotated[Caller, Depends(requires(Scope.READ))]
Submitter = Annotated[Caller, Depends(requires(Scope.SUBMIT))]


def identify(at: Service, key: str | None) -> Caller:
    """Whose key it is, or whoever asks where no key is needed.

    Raises:
        RequestRefused: 401, no key, or one that is not valid.
    """
    with at.database.reading() as session:
        found = None if key is None else keys.identify(session, key)
        if key is None and at.is_private and not keys.exist(session):
            return _NOBODY
    if found is None:
        what = "no API key came with the request" if key is None else "this API key is not valid"
        raise RequestRefused(what, 401, _ADD)
    return found


def admit(at: Service, request: Request, scope: Scope, cookie: str | None) -> Caller:
    """A browser's way in: it sends its key in a cookie.

    Raises:
        RequestRefused: 401, no valid key; 403, a key that may not; 429, too many requests.
    """
    known = identify(at, _bearer(request) or cookie)
    if known.key_id is None:
        _refuse_foreign_pages(request)
    _check_scope(known, scope)
    if known.limits.requests_per_minute is not None:
        _count(at, known)
    return known


def _check_scope(caller: Caller, scope: Scope) -> None:
    if not caller.scope.allows(scope):
        raise RequestRefused(
            f"key {caller.name!r} has scope {caller.scope}, and this needs {scope}",
            403,
            f"use a key of scope {scope}: `annealq keys add NAME --scope {scope}`",
        )


def _count(at: Service, caller: Caller) -> None:
    # What is counted stays counted, also for a request that is refused.
    refusal = None
    with at.database.transaction() as session:
        try:
            limits.count_request(session, caller, at.database.now(session))
        except RequestRefused as error:
            refusal = error
    if refusal is not None:
        raise refusal


def _bearer(request: Request) -> str | None:
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" and key.strip() else None


def _refuse_foreign_pages(request: Request) -> None:
    """Without keys, a page of another site in this machine's browser must not be able to send runs."""
    host = urlsplit(f"//{request.headers.get('host', '')}").hostname
    origin = request.headers.get("origin")
    is_foreign = origin is not None and urlsplit(origin).netloc != request.headers.get("host")
    if host not in _LOCAL or is_foreign:
        raise RequestRefused(
            "without any API key, only programs on this machine may ask",
            403,
            "make a key with `annealq keys add NAME`, and send it",
        )
