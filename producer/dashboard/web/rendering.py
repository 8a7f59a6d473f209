"""The templates of pages and reports, and their filters."""

from __future__ import annotations

import functools
from datetime import UTC, datetime

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from producer.dashboard.web.tables import kind_of
from schema.quantities import time_text


@functools.cache
def environment() -> Environment:
    """Return the templates, compiled. Values are escaped in HTML, and by the filter `cell` in Markdown."""
    templates = Environment(
        loader=PackageLoader("producer.dashboard"),
        autoescape=select_autoescape(["html.j2"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {"time": time_text, "cell": _table_cell, "when": time_tag, "kind": kind_of}
    for name in templates.list_templates(extensions=["j2"]):
        templates.get_template(name)
    return templates


def time_tag(when: datetime | None) -> Markup:
    """Return ``when`` in UTC as an element that a script completes with the local time; empty for None."""
    if when is None:
        return Markup()
    utc = when.astimezone(UTC)
    return Markup('<time datetime="{}">{}</time>').format(
        utc.strftime("%Y-%m-%dT%H:%M:%SZ"), f"{utc:%Y-%m-%d %H:%M} UTC"
    )


def _table_cell(text: str) -> str:
    """Escape ``text`` for a cell of a Markdown table."""
    return " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
