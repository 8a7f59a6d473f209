"""Pages that update in parts: a browser asks again with what it shows, and gets the parts that differ."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup
from starlette.responses import HTMLResponse, Response

from producer.dashboard.web import rendering
from producer.dashboard.web.visit import HEADERS, Visit

_BASIS = "basis"  # stands among the names of parts


@dataclass(frozen=True)
class LivePage:
    """The parts of a page by name, in their order, and how it goes on.

    Attributes:
        parts: HTML by name, each in an element of its own.
        title: of the browser's window.
        icon: state that the page's icon shows.
        every_s: seconds until the browser asks again; None: nothing will change.
        basis: digest of everything that decides the parts, if that is known before they are rendered.
    """

    parts: Mapping[str, Markup]
    title: str
    icon: str
    every_s: int | None
    basis: str = ""

    def values(self, address: str) -> dict[str, Any]:
        """Return the template's values of the whole page, whose updates are at ``address``."""
        return {
            "parts": self.parts,
            "title": self.title,
            "icon": self.icon,
            "poll": {"address": address, "seen": self._digests(), "every_s": self.every_s},
        }

    def update(self, visit: Visit, address: str) -> Response:
        """Return the parts that differ from those that the browser of ``visit`` shows; 204 if none does."""
        shown, current = _parse(visit.asked("seen")), _parse(self._digests())
        changed = {name: html for name, html in self.parts.items() if shown.get(name) != current[name]}
        # A new basis is sent even if no part differs, so that the next request is answered by it.
        if not changed and self.every_s is not None and shown.get(_BASIS) == current.get(_BASIS):
            return unchanged()
        values = self.values(address) | {"parts": changed, "root": visit.root}
        text = rendering.environment().get_template("update.html.j2").render(values)
        return HTMLResponse(text, headers=HEADERS)

    def _digests(self) -> str:
        digests = {name: f"{zlib.crc32(html.encode()):08x}" for name, html in self.parts.items()}
        if self.basis:
            digests[_BASIS] = self.basis
        return " ".join(f"{name}-{digest}" for name, digest in digests.items())


def shows(visit: Visit, basis: str) -> bool:
    """Return whether the browser of ``visit`` shows the parts that ``basis`` decides."""
    return _parse(visit.asked("seen")).get(_BASIS) == basis


def unchanged() -> Response:
    """Return the answer to a browser that shows all parts as they are."""
    return Response(status_code=204, headers=HEADERS)


def _parse(seen: str) -> dict[str, str]:
    return dict(part.partition("-")[::2] for part in seen.split())


def render_part(template: str, values: Mapping[str, Any]) -> Markup:
    """Return ``template`` with ``values`` as HTML."""
    return Markup(rendering.environment().get_template(template).render(values))  # noqa: S704 - it is escaped
