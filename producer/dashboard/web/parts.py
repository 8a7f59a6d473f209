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


@dataclass(frozen=True)
class LivePage:
    """The parts of a page by name, in their order, and how it goes on.

    Attributes:
        parts: HTML by name, each in an element of its own.
        title: of the browser's window.
        icon: state that the page's icon shows.
        every_s: seconds until the browser asks again; None: nothing will change.
    """

    parts: Mapping[str, Markup]
    title: str
    icon: str
    every_s: int | None

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
        shown = dict(part.partition("-")[::2] for part in visit.asked("seen").split())
        digests = self._digests()
        current = dict(part.partition("-")[::2] for part in digests.split())
        changed = {name: html for name, html in self.parts.items() if shown.get(name) != current[name]}
        if not changed and self.every_s is not None:
            return Response(status_code=204, headers=HEADERS)
        values = self.values(address) | {"parts": changed, "root": visit.root}
        text = rendering.environment().get_template("update.html.j2").render(values)
        return HTMLResponse(text, headers=HEADERS)

    def _digests(self) -> str:
        return " ".join(f"{name}-{zlib.crc32(html.encode()):08x}" for name, html in self.parts.items())


def render_part(template: str, values: Mapping[str, Any]) -> Markup:
    """Return ``template`` with ``values`` as HTML."""
    return Markup(rendering.environment().get_template(template).render(values))  # noqa: S704 - it is escaped
