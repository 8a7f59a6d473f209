"""Checks an embedding that Ocean's tools wrote, and stores it for runs.

    python -m worker.tools.ocean_embedding NETWORK CHIP INPUT --visible sampled|folded [--tiles N]

NETWORK and CHIP are ids of rows. It prints the id of the new embedding.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sqlalchemy import select

from schema.codecs.corruption import stored_in
from schema.codecs.tiling import Tiling
from schema.database import Database
from schema.errors import NotFound, ParameterError, Refused
from schema.settings import load
from schema.settings.worker import WorkerSettings
from schema.tables import Chip
from schema.tables.embeddings import IMPORTED
from worker.embedding.model.check import check_tiling
from worker.embedding.model.found import FoundTiling
from worker.embedding.model.graphs import Interactions, SolverGraph
from worker.ocean.embeddings import MAX_BYTES, parse_tiles
from worker.ocean.models import names_of
from worker.process.logs import configure
from worker.records.embeddings import EmbeddingRequest, SearchJob, obtain
from worker.records.networks import Registry
from worker.tools import entry


def store(database: Database, network: int, chip: int, text: str, visible: str, tiles: int) -> int:
    """Store the embedding in ``text`` for ``network`` on ``chip``, once it is checked; return its row.

    Args:
        database: where both are stored.
        network, chip: ids of their rows.
        text: see `parse_tiles`.
        visible: whether visible units are in the model, or folded.
        tiles: that runs ask for with `--tiles`; 0: runs without that option.

    Raises:
        ParameterError: the text is not an embedding, it is not valid on the chip, or one is stored already.
        NotFound: there is no such network or chip.
        Corrupt: network or chip are damaged.
    """
    with database.reading() as session:
        trained = Registry().get(session, network)
        row = session.execute(select(Chip).where(Chip.id == chip)).scalar()
        if row is None:
            raise NotFound(f"chip {chip} does not exist: see `annealq embeddings chips`")
        with stored_in(f"graph of chip {chip}", "ask the solver again: `annealq embeddings find`"):
            counts = row.qubits, row.couplers
            graph = SolverGraph.from_stored(row.name, row.graph_id, row.properties, row.graph, counts)
    model = trained.model(visible, None)
    kinds = [layer["kind"] for layer in trained.architecture.summary()["units"]]
    tiling = parse_tiles(text, names_of(model, kinds))
    interactions = Interactions.of(model)
    _check(interactions, graph, tiling, tiles)
    name = f"{trained.architecture.name} {visible} ({' + '.join(map(str, model.sizes))} units)"
    is_stored = False

    def search(_job: SearchJob) -> FoundTiling:
        nonlocal is_stored
        is_stored = True
        return FoundTiling(tiling, IMPORTED, 0.0, 0)

    request = EmbeddingRequest(chip, interactions, tiles, name)
    found = obtain(database, request, search, lease_s=WorkerSettings().lease_s, again=True)
    if not is_stored:
        raise ParameterError(
            f"embedding {found.id} is stored already for these units on this graph with --tiles "
            f"{tiles or 'left out'}: choose another --tiles, or remove it: "
            "`annealq embeddings prune --all-unused`"
        )
    return found.id


def _check(interactions: Interactions, graph: SolverGraph, tiling: Tiling, tiles: int) -> None:
    """Raise ParameterError unless ``tiling`` is valid on ``graph``, and has no more than these ``tiles``."""
    if tiles and tiling.tiles > tiles:
        raise ParameterError(
            f"the embedding has {tiling.tiles} tiles: import them with --tiles {tiling.tiles}"
        )
    try:
        check_tiling(interactions, graph, tiling)
    except Refused as error:
        text = str(error).rpartition("; ")[0] or str(error)
        raise ParameterError(
            f"the embedding is not valid on {graph.name}, graph {graph.graph_id}: {text}; nothing is stored"
        ) from None


def main() -> None:
    """Store the embedding that the command line names, and print its id."""
    parser = argparse.ArgumentParser(prog="python -m worker.tools.ocean_embedding")
    parser.add_argument("network", type=int)
    parser.add_argument("chip", type=int)
    parser.add_argument("input", type=Path)
    parser.add_argument("--visible", choices=("sampled", "folded"), required=True)
    parser.add_argument("--tiles", type=int, default=0)
    options = parser.parse_args()
    configure()  # standard output is for the answer
    with options.input.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ParameterError(f"{options.input} has more than {MAX_BYTES:,} bytes: it is not an embedding")
    text = data.decode("utf-8", errors="replace")
    database = Database(load().database_url)
    try:
        row = store(database, options.network, options.chip, text, options.visible, options.tiles)
    finally:
        database.dispose()
    sys.stdout.write(f"{row}\n")


if __name__ == "__main__":
    entry.run(main)
