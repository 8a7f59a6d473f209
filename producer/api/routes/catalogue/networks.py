"""Networks over HTTP."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from producer.api.core.service import Shared
from producer.api.keys.authentication import Reader
from producer.api.load.routing import PooledRoute
from producer.api.models.answers import answer
from producer.api.models.catalogue import NetworkList, ShownNetwork
from producer.networks import queries, shipped

router = APIRouter(route_class=PooledRoute, tags=["networks"])


@router.get("/v1/networks", summary="List networks", response_model=NetworkList)
def list_networks(service: Shared, _caller: Reader) -> JSONResponse:
    """Return the networks in the database, newest first, and those that are installed on first use."""
    with service.database.reading() as session:
        networks = [ShownNetwork.of(network) for network in queries.networks(session)]
    return answer({"networks": networks, "shipped": shipped.names()})


@router.get("/v1/networks/{name}", summary="Show a network", response_model=ShownNetwork)
def show_network(name: str, service: Shared, _caller: Reader) -> JSONResponse:
    """Return the network NAME or NAME@VERSION, and which images it takes."""
    with service.database.reading() as session:
        return answer(ShownNetwork.of(queries.network_by_name(session, name)))
