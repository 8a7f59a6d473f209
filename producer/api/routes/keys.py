"""API keys over HTTP, for administrators, as `annealq keys` has them."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Path, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from producer.api.core.service import Shared
from producer.api.keys import keys, listing
from producer.api.keys.authentication import Admin
from producer.api.keys.keys import KeyLimits, NewKey, Scope
from producer.api.load.routing import PooledRoute
from producer.api.models.answers import answer
from producer.api.models.service import KeyList

router = APIRouter(route_class=PooledRoute, tags=["keys"])

_COUNT = Field(None, ge=1, lt=2**31, description="None by default.")
OwnerName = Annotated[str, Path(max_length=64, description="The name of the owner.")]


class KeyBody(BaseModel):
    """An owner of keys, its permissions and its limits."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    scope: Scope = Scope.SUBMIT
    requests_per_minute: int | None = _COUNT
    images_per_day: int | None = _COUNT
    qpu_s_per_day: float | None = Field(None, gt=0, le=1e9)
    all_runs: bool = Field(False, strict=True, description="It sees the runs of all owners.")
    expires_after_days: float | None = Field(None, ge=0.001, le=36_500)


@router.get("/v1/keys", summary="List keys", response_model=KeyList)
def list_keys(service: Shared, _caller: Admin) -> JSONResponse:
    """Return all keys, newest first, without the keys themselves."""
    with service.database.reading() as session:
        return answer({"keys": listing.summaries(session, service.database.now(session))})


@router.post("/v1/keys", summary="Add a key", status_code=201, response_model=NewKey)
def add_key(service: Shared, _caller: Admin, body: KeyBody) -> JSONResponse:
    """Add an owner with its first key, which is shown once, in this answer."""
    qpu_us = None if body.qpu_s_per_day is None else max(round(body.qpu_s_per_day * 1e6), 1)
    days = body.expires_after_days
    made = keys.add(
        service.database,
        body.name,
        body.scope,
        KeyLimits(body.requests_per_minute, body.images_per_day, qpu_us),
        all_runs=body.all_runs,
        lifetime=None if days is None else timedelta(days=days),
    )
    return answer(made, 201, {"Cache-Control": "no-store"})


@router.delete("/v1/keys/{name}", summary="Revoke the keys of an owner", status_code=204)
def revoke_keys(name: OwnerName, service: Shared, _caller: Admin) -> Response:
    """Revoke all valid keys of the owner `name`. Its runs continue."""
    keys.revoke(service.database, name)
    return Response(status_code=204)
