"""Networks and embeddings over HTTP, as the command line lists them."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.encoders import jsonable_encoder
from fastapi.responses import JSONResponse

from producer.api.core.service import Shared
from producer.api.keys.authentication import Reader
from producer.embeddings import queries as embeddings_queries
from producer.networks import queries as networks_queries
from producer.networks import shipped
from producer.networks.queries import NetworkSummary

router = APIRouter()


@router.get("/v1/networks", summary="List networks")
def list_networks(service: Shared, _caller: Reader) -> JSONResponse:
    """Return the networks in the database, newest first, and those that are installed on first use."""
    with service.database.reading() as session:
        networks = [_network(network) for network in networks_queries.networks(session)]
    return JSONResponse({"networks": networks, "shipped": shipped.names()})


@router.get("/v1/embeddings", summary="List embeddings")
def list_embeddings(service: Shared, _caller: Reader) -> JSONResponse:
    """Return all embeddings, newest first."""
    with service.database.reading() as session:
        return JSONResponse({"embeddings": jsonable_encoder(embeddings_queries.summaries(session))})


def _network(network: NetworkSummary) -> dict[str, Any]:
    values = jsonable_encoder(network, exclude={"metrics", "architecture"})
    accuracy = {"own_accuracy": network.own_accuracy, "train_accuracy": network.train_accuracy}
    return {**values, **accuracy, "layers": network.architecture}
