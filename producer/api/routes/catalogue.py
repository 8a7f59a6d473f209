"""Networks and embeddings over HTTP, as the command line lists them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from producer.api.core.authentication import Reader
from producer.api.core.service import Shared
from producer.api.routes.runs import plain
from producer.embeddings import queries as embeddings_queries
from producer.networks import queries as networks_queries
from producer.networks import shipped
from producer.networks.queries import NetworkSummary

router = APIRouter()


@router.get("/v1/networks", summary="List networks")
def list_networks(at: Shared, _caller: Reader) -> JSONResponse:
    """Networks in the database, newest first; and those that come with annealq, installed when used."""
    with at.database.reading() as session:
        found = [_network(network) for network in networks_queries.networks(session)]
    return JSONResponse({"networks": found, "shipped": shipped.names()})


@router.get("/v1/embeddings", summary="List embeddings")
def list_embeddings(at: Shared, _caller: Reader) -> JSONResponse:
    """Embeddings that were searched for, newest first."""
    with at.database.reading() as session:
        found = [plain(asdict(embedding)) for embedding in embeddings_queries.summaries(session)]
    return JSONResponse({"embeddings": found})


def _network(network: NetworkSummary) -> dict[str, Any]:
    """Without the figures of every epoch."""
    values = plain(asdict(network))
    del values["metrics"], values["architecture"]
    accuracy = {"own_accuracy": network.own_accuracy, "train_accuracy": network.train_accuracy}
    return {**values, **accuracy, "layers": network.architecture}
