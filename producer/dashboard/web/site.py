"""The pages as one application: who is admitted, what errors look like, and the files that browsers load."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route as HttpRoute

from producer.context import RunInThread
from producer.dashboard.web import assets
from producer.dashboard.web.drawing import Drawing, LengthyAnswer
from producer.dashboard.web.renderings import Renderings
from producer.dashboard.web.transfers import read_form
from producer.dashboard.web.visit import HEADERS, View, Visit, refuse_foreign, render, root_of
from producer.dashboard.web.visitor import Door, Visitor
from schema.database import Database, act_as
from schema.errors import (
    AnnealqError,
    BrokerUnavailable,
    Corrupt,
    DiskFull,
    InputError,
    NotFound,
    ParameterError,
    RequestRefused,
    StaleState,
    StorageError,
)

_LOG = logging.getLogger("annealq.pages")
_MAX_FIELDS = 1_100  # of a form that is not an upload: a thousand chosen runs, and a few more
_YEAR = "public, max-age=31536000, immutable"


@dataclass(frozen=True)
class Route:
    """Method, path and function of a page; its form may carry up to ``max_files`` files."""

    method: str
    path: str
    view: View
    max_files: int = 0


@dataclass(frozen=True)
class Site:
    """The pages over a database; ``door`` admits visitors, ``refuse`` answers programs with an error.

    ``run`` calls functions in threads; ``renderings`` has the threads for what takes seconds.

    ``routes`` are the pages.
    """

    database: Database
    door: Door
    run: RunInThread
    renderings: Renderings
    refuse: Callable[[AnnealqError], Response]
    routes: Sequence[Route]

    def app(self) -> Starlette:
        """Return the pages as an application for `/`."""
        assets.assets()  # the first page need not wait for templates to be compiled
        routes = [HttpRoute(each.path, self._page(each), methods=[each.method]) for each in self.routes]
        routes += [
            HttpRoute("/login", self.login, methods=["POST"]),
            HttpRoute("/logout", self.logout, methods=["POST"]),
            HttpRoute("/static/{digest:str}/{name:str}", self.asset),
        ]
        return Starlette(routes=routes, exception_handlers={404: self._not_found})

    async def login(self, request: Request) -> Response:
        """Begin a session with the API key of ``request``."""
        form = await request.form(max_files=0, max_fields=4)
        return await self._enter(request, str(form.get("key", "")).strip(), "/")

    async def logout(self, request: Request) -> Response:
        """End the session of ``request``."""
        answer = RedirectResponse(f"{root_of(request)}/", 303)
        try:
            refuse_foreign(request)
            if (cookie := request.cookies.get(self.door.cookie)) is not None:
                await self.run(self.door.end, cookie)
        except AnnealqError as error:
            return _refusal(request, None, error)
        answer.delete_cookie(self.door.cookie, path="/")
        return answer

    async def _enter(self, request: Request, key: str, path: str) -> Response:
        """Begin a session with ``key``, and lead the browser to ``path``.

        Its cookie is hidden from scripts and from other sites, and has nothing of the key.
        """
        try:
            if request.method == "POST":
                refuse_foreign(request)
            cookie = await self.run(self.door.begin, request, key)
        except RequestRefused as refused:
            return render(request, None, "login.html.j2", refused.status, title="Log in", wrong=str(refused))
        except AnnealqError as error:
            return _refusal(request, None, error)
        answer = RedirectResponse(f"{root_of(request)}{path}", 303, HEADERS)
        answer.set_cookie(
            self.door.cookie,
            cookie,
            max_age=int(self.door.lifetime.total_seconds()),
            httponly=True,
            samesite="strict",
            secure=request.scope["scheme"] == "https",
            path="/",
        )
        return answer

    async def asset(self, request: Request) -> Response:
        """Send the style sheet or the script of ``request``."""
        try:
            asset = assets.find(request.path_params["digest"], request.path_params["name"])
        except NotFound:
            return await self._not_found(request, None)
        return Response(asset.body, media_type=asset.media_type, headers={**HEADERS, "Cache-Control": _YEAR})

    def _page(self, route: Route) -> Callable[[Request], Any]:

        @functools.wraps(route.view)
        async def answer(request: Request) -> Response:
            if request.method == "GET" and (token := request.query_params.get("token")):
                return await self._enter(request, token, quote(request.scope["path"]))
            visitor = None
            try:
                visitor = await self.run(self._admit, request)
                # Nothing of the body is read before the visitor is known.
                if request.method != "POST":
                    return await self._answer(route.view, Visit(self.database, request, visitor, FormData()))
                async with read_form(request, max_files=route.max_files, max_fields=_MAX_FIELDS) as form:
                    return await self._answer(route.view, Visit(self.database, request, visitor, form))
            except AnnealqError as error:
                return _refusal(request, visitor, error)

        return answer

    async def _answer(self, view: View, visit: Visit) -> Response:
        answer = await self.run(self._view, view, visit)
        if isinstance(answer, Drawing):
            answer = await self.renderings.get(answer)
        elif isinstance(answer, LengthyAnswer):
            answer = await self.renderings.make(answer)
        for name, value in HEADERS.items():
            answer.headers.setdefault(name, value)
        return answer

    def _admit(self, request: Request) -> Visitor:
        return self.door.admit(request, request.cookies.get(self.door.cookie))

    def _view(self, view: View, visit: Visit) -> Response | Drawing | LengthyAnswer:
        """Return what ``view`` answers to ``visit``; a drawing that is stored as its response."""
        if "run" in visit.request.path_params:
            visit.visitor.check(visit.number("run"))
        with act_as(actor=visit.visitor.name):
            answer = view(visit)
        return (self.renderings.find(answer) or answer) if isinstance(answer, Drawing) else answer

    async def _not_found(self, request: Request, _error: Exception | None) -> Response:
        path = request.scope["path"]
        message, hint = f"there is no page {path}", "start from the list of runs, /"
        if "text/html" in request.headers.get("accept", ""):
            return render(request, None, "problem.html.j2", 404, title="404", message=message, hint=hint)
        answer = self.refuse(RequestRefused(message, 404, hint))
        answer.headers.update(HEADERS)
        return answer


def _refusal(request: Request, visitor: Visitor | None, error: AnnealqError) -> Response:
    """Return the page for an ``error``. Addresses of database and broker are only for the operator's log."""
    if isinstance(error, RequestRefused) and error.status == HTTPStatus.UNAUTHORIZED:
        answer = render(request, None, "login.html.j2", 401, title="Log in", wrong=None)
        if "hx-request" in request.headers:
            answer.headers["HX-Refresh"] = "true"
        return answer
    message, hint = str(error), error.hint if isinstance(error, RequestRefused) else None
    if isinstance(error, BrokerUnavailable) or (
        isinstance(error, StorageError) and not isinstance(error, Corrupt | DiskFull)
    ):
        _LOG.warning("%s: %s", type(error).__name__, error)
        what = "broker" if isinstance(error, BrokerUnavailable) else "database"
        message, hint = f"the {what} cannot be used", "try again in a moment"
    values = {"title": message, "message": message, "hint": hint}
    return render(request, visitor, "problem.html.j2", _status(error), **values)


def _status(error: AnnealqError) -> int:
    if isinstance(error, RequestRefused):
        return error.status
    if isinstance(error, NotFound):
        return 404
    if isinstance(error, ParameterError | StaleState):
        return 409
    if isinstance(error, InputError):
        return 422
    if isinstance(error, DiskFull):
        return 507
    return 500 if isinstance(error, Corrupt) else 503
