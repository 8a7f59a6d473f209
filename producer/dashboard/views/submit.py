"""A form that submits images; the API's own code validates it."""

from __future__ import annotations

import secrets
from typing import Any

from starlette.datastructures import UploadFile
from starlette.responses import Response

from producer.dashboard.web.visit import Visit
from producer.networks import queries
from schema.errors import InputError, RequestRefused
from schema.parameters import Solver
from schema.states import NetworkState

_TOKEN = "token"  # noqa: S105 - the name of a field: a form that is sent twice is one run


def ask(visit: Visit) -> Response:
    """Show an empty form to the visitor of ``visit``."""
    return _form(visit, {}, None)


def send(visit: Visit) -> Response:
    """Submit the images in the form of ``visit``, and show the run; or say what is wrong with them."""
    visit.check_may_act()
    parts = [(name, value) for name, value in visit.form.multi_items() if name != _TOKEN and _is_given(value)]
    token = str(visit.form.get(_TOKEN, ""))[:64] or secrets.token_urlsafe()
    try:
        run = visit.visitor.submit(parts, f"page-{token}")
    except (InputError, RequestRefused) as error:
        values = {name: str(value) for name, value in parts if isinstance(value, str)}
        return _form(visit, values, error)
    return visit.go(f"/runs/{run}", f"run {run} is enqueued")


def _is_given(value: UploadFile | str) -> bool:
    return bool(value.strip() if isinstance(value, str) else value.filename)


def _form(visit: Visit, values: dict[str, str], error: InputError | None) -> Response:
    with visit.database.reading() as session:
        networks = [one.pinned for one in queries.networks(session) if one.state is NetworkState.READY]
    context: dict[str, Any] = {
        "title": "Submit images",
        "values": values,
        "error": error,
        "networks": networks,
        "solvers": [solver.value for solver in Solver],
        "token": secrets.token_urlsafe(),
    }
    status = 200 if error is None else error.status if isinstance(error, RequestRefused) else 422
    return visit.render("submit.html.j2", status, **context)
