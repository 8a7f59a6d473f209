"""Embeddings over HTTP."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from fastapi.responses import JSONResponse

from producer.api.core.service import Shared
from producer.api.keys.authentication import Reader
from producer.api.load.routing import PooledRoute
from producer.api.models.answers import answer
from producer.api.models.catalogue import EmbeddingList
from producer.embeddings import queries
from producer.embeddings.queries import EmbeddingSummary

router = APIRouter(route_class=PooledRoute, tags=["embeddings"])


@router.get("/v1/embeddings", summary="List embeddings", response_model=EmbeddingList)
def list_embeddings(service: Shared, _caller: Reader) -> JSONResponse:
    """Return all embeddings, newest first."""
    with service.database.reading() as session:
        return answer({"embeddings": queries.summaries(session)})


@router.get("/v1/embeddings/{embedding}", summary="Show an embedding", response_model=EmbeddingSummary)
def show_embedding(
    embedding: Annotated[int, Path(ge=1, lt=2**63)], service: Shared, _caller: Reader
) -> JSONResponse:
    """Return one embedding: its size, its chains, and how many problems used it."""
    with service.database.reading() as session:
        return answer(queries.embedding(session, embedding))
