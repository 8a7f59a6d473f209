"""API keys over HTTP, for administrators, as `annealq keys` has them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Response
from fastapi.responses import JSONResponse

from producer.api.core.service import Shared
from producer.api.keys import keys, listing
from producer.api.keys.authentication import Admin
from producer.api.keys.keys import NewKey
from producer.api.load.routing import PooledRoute
from producer.api.models.answers import answer
from producer.api.models.owners import KeyBody, add_owner
from producer.api.models.service import KeyList

router = APIRouter(route_class=PooledRoute, tags=["keys"])

OwnerName = Annotated[str, Path(max_length=64, description="The name of the owner.")]


@router.get("/v1/keys", summary="List keys", response_model=KeyList)
def list_keys(service: Shared, _caller: Admin) -> JSONResponse:
    """Return all keys, newest first, without the keys themselves."""
    with service.database.reading() as session:
        return answer({"keys": listing.summaries(session, service.database.now(session))})


@router.post("/v1/keys", summary="Add a key", status_code=201, response_model=NewKey)
def add_key(service: Shared, _caller: Admin, body: KeyBody) -> JSONResponse:
    """Add an owner with its first key, which is shown once, in this answer."""
    made = add_owner(service.database, body, allow_private=service.api.webhook_private)
    return answer(made, 201, {"Cache-Control": "no-store"})


@router.delete("/v1/keys/{name}", summary="Revoke the keys of an owner", status_code=204)
def revoke_keys(name: OwnerName, service: Shared, _caller: Admin) -> Response:
    """Revoke all valid keys of the owner `name`. Its runs continue."""
    keys.revoke(service.database, name)
    return Response(status_code=204)
