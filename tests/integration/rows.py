"""Rows of chips and embeddings, as a worker writes them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import insert
from sqlalchemy.orm import Session

from schema.codecs import chip_graphs, tiling
from schema.codecs.tiling import Tiling
from schema.states import EmbeddingState
from schema.tables import Chip, Embedding
from tests.chips import chip as make_graph
from tests.integration.conftest import START

# Two tiles of three units on a Chimera C2: chains of 1, 1 and 2 qubits.
TILES = Tiling.from_chains([[[0], [4], [1, 5]], [[8], [12], [9, 13]]])


def add_chip(session: Session, *, seed: int = 0, seen_at: datetime = START, **values: Any) -> int:
    """A Chimera C2 with two dead qubits; another seed is another graph of the same solver."""
    graph = make_graph("chimera", 2, dead=2 / 32, seed=seed)
    row = {
        "solver": "emulator",
        "name": "tiny",
        "graph_id": graph.graph_id,
        "properties": {"topology": {"type": graph.topology, "shape": list(graph.shape)}, "num_qubits": 32},
        "qubits": len(graph.qubits),
        "couplers": len(graph.couplers),
        "graph": chip_graphs.encode(graph.qubits, graph.couplers),
        "created_at": seen_at,
        "seen_at": seen_at,
    }
    return session.execute(insert(Chip).values({**row, **values}).returning(Chip.id)).scalar_one()


def add_embedding(session: Session, chip: int, **values: Any) -> int:
    """A ready embedding on a chip."""
    row = {
        "graph_sha256": "0" * 64,
        "chip_id": chip,
        "tiles_wanted": 0,
        "name": "digits sampled (2 + 1 units)",
        "units": TILES.units,
        "state": EmbeddingState.READY,
        "tiling": tiling.encode(TILES),
        "tiles": TILES.tiles,
        "qubits": len(TILES.qubits),
        "longest_chain": TILES.longest_chain,
        "seconds": 2.5,
        "seed": 0,
        "method": "window",
        "created_at": START,
        "started_at": START,
        "finished_at": START,
    }
    return session.execute(insert(Embedding).values({**row, **values}).returning(Embedding.id)).scalar_one()
