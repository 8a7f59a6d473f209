"""/openapi.json: the API as its routes declare it, with every status, the keys, and the webhooks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from producer.api.core.problems import problem_schemas
from producer.api.reference.examples import add_examples
from producer.api.reference.statuses import add_statuses, error_responses

_KEY = "key"
_SECURITY = {
    _KEY: {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key: `annealq keys add NAME --scope read|submit|admin` prints one.",
    }
}
_TAGS = {
    "runs": "One request to classify a set of images.",
    "results": "The classes of the images of a run.",
    "events": "Progress as server-sent events.",
    "networks": "The networks that classify images.",
    "calibrations": "Sampling parameters that were fitted on labelled images.",
    "embeddings": "Networks on the qubits of solvers.",
    "schedules": "Requests that become runs at given times.",
    "keys": "API keys and their limits.",
    "service": "The process itself.",
    "webhooks": "Messages that annealq sends.",
}
_FROM_FASTAPI = ("HTTPValidationError", "ValidationError")


def describe(
    app: FastAPI, routes: Sequence[BaseRoute], schemas: dict[str, Any], webhooks: Sequence[BaseRoute]
) -> dict[str, Any]:
    """Return the description of ``app`` and of the ``webhooks`` that it sends.

    Args:
        routes: of the API.
        schemas: of the bodies that routes read themselves.
    """
    described = get_openapi(
        title=app.title,
        version=app.version,
        description=app.description,
        routes=app.routes,
        webhooks=webhooks,
        tags=[{"name": name, "description": text} for name, text in _TAGS.items()],
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
    )
    scopes = dict(_scopes(routes))
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            scope = scopes[path, method]
            operation["responses"].pop("422", None)
            add_statuses(path, method, operation, needs_key=scope is not None)
            operation["security"] = [] if scope is None else [{_KEY: [scope]}]
    components = described["components"]
    components["schemas"] |= {**schemas, **problem_schemas()}
    for name in _FROM_FASTAPI:
        components["schemas"].pop(name, None)
    for operations in described["webhooks"].values():
        for operation in operations.values():
            operation["responses"] = {"200": {"description": "Any 2xx: the message has arrived."}}
    components["securitySchemes"] = _SECURITY
    components["responses"] = error_responses()
    add_examples(described)
    return described


def _scopes(routes: Sequence[BaseRoute]) -> Iterator[tuple[tuple[str, str], str | None]]:
    """Yield path and method of each operation, with the scope that it needs, or None without a key."""
    for route in routes:
        if isinstance(route, APIRoute):
            scopes = [str(scope) for scope in _scopes_of(route.dependant)]
            for method in route.methods or ():
                # Where a route asks for several, the last one named is the highest.
                yield (route.path_format, method.lower()), scopes[-1] if scopes else None


def _scopes_of(dependant: Dependant) -> Iterator[str]:
    for dependency in dependant.dependencies:
        scope = getattr(dependency.call, "scope", None)
        if scope is not None:
            yield scope
        yield from _scopes_of(dependency)
