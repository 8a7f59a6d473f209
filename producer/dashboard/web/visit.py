"""One request for a page, and the responses to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from producer.dashboard.web import assets, rendering
from producer.dashboard.web.drawing import Drawing, LengthyAnswer
from producer.dashboard.web.tables import PageTable
from producer.dashboard.web.visitor import Visitor
from schema.database import Database
from schema.errors import NotFound, RequestRefused

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self' data:; style-src 'self'; style-src-attr "
    "'unsafe-inline'; script-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; "
    "base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_MENU = (
    *(("/", "Runs"), ("/submit", "Submit"), ("/networks", "Networks"), ("/workers", "Workers")),
    *(("/solvers", "Solvers"), ("/schedules", "Schedules"), ("/deliveries", "Deliveries"), ("/keys", "Keys")),
)
_LARGEST = 2**63 - 1  # that a database takes


@dataclass(frozen=True)
class Visit:
    """A request for a page by a visitor who was admitted; ``form`` are the fields that it sent."""

    database: Database
    request: Request
    visitor: Visitor
    form: FormData

    @property
    def root(self) -> str:
        """Return the path at which the pages are mounted, without a slash at the end."""
        return root_of(self.request)

    def number(self, name: str) -> int:
        """Return the number ``name`` of the path; raise NotFound if none can be that large."""
        value = int(self.request.path_params[name])
        if value > _LARGEST:
            raise NotFound(f"there is no {name} {value}")
        return value

    def asked(self, name: str) -> str:
        """Return the field ``name`` of the query, without spaces around it; empty if there is none."""
        return self.request.query_params.get(name, "").strip()

    def asked_number(self, name: str) -> int | None:
        """Return the whole number ``name`` of the query, or None if there is none."""
        text = self.asked(name)
        if not (text.isascii() and text.isdecimal()) or int(text) > _LARGEST:
            return None
        return int(text)

    def render(self, template: str, status: int = 200, **values: Any) -> Response:
        """Return ``template`` with ``values`` as a page."""
        return render(self.request, self.visitor, template, status, **values)

    def render_listings(
        self, title: str, listings: Sequence[PageTable], *, text: str | None = None, older: str | None = None
    ) -> Response:
        """Return a page of ``listings`` with ``title``, ``text`` above them, and a link to ``older`` rows."""
        return self.render("listings.html.j2", title=title, listings=listings, text=text, older=older)

    def go(self, path: str, said: str | None = None) -> Response:
        """Lead the browser to ``path`` below the root, which then shows the message ``said``."""
        message = "" if said is None else f"{'&' if '?' in path else '?'}said={quote(said)}"
        return RedirectResponse(f"{self.root}{path}{message}", 303)

    def check_may_act(self, *, admin: bool = False) -> None:
        """Raise RequestRefused (403) if the visitor may only look, or another site sent the request.

        With ``admin``, only admins may act.
        """
        refuse_foreign(self.request)
        if admin:
            self.check_admin()
        if not self.visitor.may_act:
            message = f"key {self.visitor.name!r} may only look"
            raise RequestRefused(message, 403, "log in with a key of scope submit to change runs")

    def check_admin(self) -> None:
        """Raise RequestRefused (403) if the visitor is not an admin."""
        if not self.visitor.is_admin:
            message = f"key {self.visitor.name!r} has no scope admin, which this page needs"
            raise RequestRefused(message, 403, "log in with a key of scope admin")


View = Callable[[Visit], Response | Drawing | LengthyAnswer]
"""A page: returns the response to a visit, in a thread, or what is to be drawn for it; it may raise any
AnnealqError."""


def render(
    request: Request, visitor: Visitor | None, template: str, status: int = 200, **values: Any
) -> Response:
    """Return ``template`` with ``values`` as the answer to ``request`` of ``visitor``."""
    defaults = {
        "root": root_of(request),
        "path": request.scope["path"],
        "menu": _MENU,
        "title": None,
        "icon": "none",
        "poll": None,
        "said": request.query_params.get("said"),
        "who": None if visitor is None else visitor.name,
        "may_act": visitor is not None and visitor.may_act,
        "status": status,
        "assets": assets.assets(),
    }
    text = rendering.environment().get_template(template).render(defaults | values)
    return HTMLResponse(text, status, headers=HEADERS)


def root_of(request: Request) -> str:
    """Return the path at which the pages are mounted in ``request``, without a slash at the end."""
    return str(request.scope.get("root_path", "")).rstrip("/")


def refuse_foreign(request: Request) -> None:
    """Raise RequestRefused (403) if a page of another site sent ``request`` with this browser's cookie."""
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    is_foreign = site not in (None, "same-origin", "none")
    if origin is not None:
        try:
            is_foreign |= origin == "null" or urlsplit(origin).netloc != request.headers.get("host")
        except ValueError:
            is_foreign = True
    if is_foreign:
        raise RequestRefused("the request came from another site", 403, "use the buttons of this page")
