"""Embeddings go out to Ocean and come in again, and nothing that is not valid is stored."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dwave.embedding
import networkx as nx
import pytest
from sqlalchemy import select, update

from producer.embeddings.queries import read_tiling
from producer.networks.chosen import ChosenNetwork
from schema.codecs import chip_graphs
from schema.database import Database
from schema.errors import AnnealqError, NotFound, ParameterError
from schema.states import EmbeddingState
from schema.tables import Embedding
from tests import chips
from tests.integration.conftest import Cli
from tests.integration.rows import add_chip
from worker.embedding.model.graphs import Interactions, SolverGraph
from worker.embedding.search.find import find_embedding
from worker.ocean.models import names_of
from worker.records.networks import Registry
from worker.tools import ocean_embedding

KINDS = ("visible", "classes")
"""Layers of the network `digits`."""


@pytest.fixture(scope="module")
def graph() -> SolverGraph:
    return chips.chip("pegasus", 4)


@pytest.fixture
def chip(database: Database, graph: SolverGraph) -> int:
    with database.transaction() as session:
        topology = {"type": graph.topology, "shape": list(graph.shape)}
        return add_chip(
            session,
            graph_id=graph.graph_id,
            properties={"topology": topology, "num_qubits": graph.size},
            qubits=len(graph.qubits),
            couplers=len(graph.couplers),
            graph=chip_graphs.encode(graph.qubits, graph.couplers),
        )


def interactions(database: Database, network: ChosenNetwork) -> tuple[Interactions, list[str]]:
    with database.reading() as session:
        model = Registry().get(session, network.id).model("folded", None)
    return Interactions.of(model), names_of(model, KINDS)


def test_what_ocean_found_is_checked_stored_and_exported(
    database: Database, cli: Cli, working: ChosenNetwork, graph: SolverGraph, chip: int, tmp_path: Path
) -> None:
    wanted, names = interactions(database, working)
    found = find_embedding(wanted, graph, tiles=2, seed=0, time_limit_s=20.0)
    tiles = [dict(zip(names, chains, strict=True)) for chains in chips.chains_of(found.tiling)]
    target = nx.Graph(graph.couplers.tolist())
    source = [(names[i], names[j]) for i, j in wanted.edges.tolist()]
    path, back = tmp_path / "in.json", tmp_path / "out.json"
    path.write_text(json.dumps(tiles))
    printed = json.loads(cli("embeddings", "import", path, "-n", "digits", "-g", graph.graph_id, "--json"))
    assert (printed["tiles"], printed["method"], printed["state"]) == (len(tiles), "imported", "ready")
    row = printed["embedding_id"]
    with database.reading() as session:
        assert chips.chains_of(read_tiling(session, row)) == chips.chains_of(found.tiling)
    cli("embeddings", "export", row, "--output", back)
    written = json.loads(back.read_text())
    assert written["graph_id"] == graph.graph_id
    for tile in written["embeddings"]:
        # No run used it yet, so its units have numbers.
        named = {names[int(number)]: chain for number, chain in tile.items()}
        assert dwave.embedding.verify_embedding(named, source, target)
    assert json.loads(cli("embeddings", "export", row, "--tile", 1)) == written["embeddings"][1]
    again = database, working.id, chip, back.read_text(), "folded"
    with pytest.raises(ParameterError, match=f"embedding {row} is stored already"):
        ocean_embedding.store(*again, 0)
    with pytest.raises(ParameterError, match="has 2 tiles: import them with --tiles 2"):
        ocean_embedding.store(*again, 1)
    assert ocean_embedding.store(*again, 2) != row
    with pytest.raises(ParameterError, match="has tiles 0 to"):
        cli("embeddings", "export", row, "--tile", 99)


def broken_chain(tile: dict[str, Any], graph: SolverGraph, used: set[int]) -> None:
    name = next(iter(tile))
    near = set(graph.couplers[(graph.couplers == tile[name][0]).any(axis=1)].ravel().tolist())
    tile[name] = [tile[name][0], next(q for q in graph.qubits.tolist() if q not in used | near)]


def missing_coupler(tile: dict[str, Any], graph: SolverGraph, used: set[int]) -> None:
    near = {int(q) for pair in graph.couplers.tolist() if used & set(pair) for q in pair}
    tile["hc3"] = [next(q for q in graph.qubits.tolist() if q not in near)]


def dead_qubit(tile: dict[str, Any], graph: SolverGraph, used: set[int]) -> None:
    tile["hc3"] = [graph.size + 5]


def shared_qubit(tile: dict[str, Any], graph: SolverGraph, used: set[int]) -> None:
    tile["hc3"] = [*tile["hc3"], tile["hc4"][0]]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (broken_chain, "is not connected; nothing is stored"),
        (missing_coupler, "no coupler between units"),
        (dead_qubit, "does not work; nothing is stored"),
        (shared_qubit, "a qubit is in two chains"),
    ],
)
def test_what_is_not_valid_is_not_stored(
    database: Database,
    working: ChosenNetwork,
    graph: SolverGraph,
    chip: int,
    spoil: Callable[[dict[str, Any], SolverGraph, set[int]], None],
    message: str,
) -> None:
    wanted, names = interactions(database, working)
    found = find_embedding(wanted, graph, tiles=1, seed=0, time_limit_s=20.0)
    (tile,) = (dict(zip(names, chains, strict=True)) for chains in chips.chains_of(found.tiling))
    spoil(tile, graph, set(found.tiling.qubits.tolist()))
    with pytest.raises(ParameterError, match=message):
        ocean_embedding.store(database, working.id, chip, json.dumps(tile), "folded", 0)
    with database.reading() as session:
        assert session.execute(select(Embedding.id)).first() is None


def test_an_import_replaces_a_search_that_has_just_failed(
    database: Database, working: ChosenNetwork, graph: SolverGraph, chip: int
) -> None:
    wanted, names = interactions(database, working)
    found = find_embedding(wanted, graph, tiles=1, seed=0, time_limit_s=20.0)
    text = json.dumps(dict(zip(names, chips.chains_of(found.tiling)[0], strict=True)))
    row = ocean_embedding.store(database, working.id, chip, text, "folded", 0)
    with database.transaction() as session:
        failed = {"state": EmbeddingState.FAILED, "error": "no embedding found", "tiling": None}
        session.execute(update(Embedding).values(**failed, finished_at=database.now(session)))
    assert ocean_embedding.store(database, working.id, chip, text, "folded", 0) == row
    with database.reading() as session:
        assert session.execute(select(Embedding.state)).scalar_one() is EmbeddingState.READY


def test_the_chip_must_be_known(database: Database, cli: Cli, working: ChosenNetwork, tmp_path: Path) -> None:
    path = tmp_path / "e.json"
    path.write_text("{}")
    for arguments, error, message in (
        ((), ParameterError, "names no graph: give --solver or --graph"),
        (("--solver", "dwave"), NotFound, "no chip of solver dwave is known"),
        (("--graph", "g"), NotFound, "chip g does not exist"),
        (("--graph", "g", "--solver", "dwave"), ParameterError, "give one"),
    ):
        with pytest.raises(error, match=message):
            cli("embeddings", "import", path, "--network", "digits", *arguments)
    with pytest.raises(AnnealqError, match="embedding 1 does not exist"):
        cli("embeddings", "export", 1)
