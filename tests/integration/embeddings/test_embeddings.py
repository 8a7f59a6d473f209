"""Embeddings are listed, shown, drawn and removed; dry runs request them."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import insert, select, update

from producer.embeddings import queries
from producer.embeddings.prune import Criteria, prune
from producer.embeddings.queries import UnitLayers
from producer.enqueued import Enqueued
from producer.networks.chosen import ChosenNetwork
from producer.runs import dry_runs
from producer.runs.dry_runs import enqueue_dry_run
from schema.database import Database
from schema.errors import AnnealqError, Corrupt, NotFound, ParameterError
from schema.parameters import Parameters, Solver, Visible
from schema.states import EmbeddingState, PreparationState, ProblemState
from schema.tables import Batch, Chip, Embedding, Preparation, Problem
from tests.integration.conftest import START, Cli
from tests.integration.rows import add_chip, add_embedding

LATER = START + timedelta(days=1)


@pytest.fixture
def stored(database: Database) -> list[int]:
    """Three embeddings: for a graph that its solver has no longer, for its newest, and a failed one there."""
    with database.transaction() as session:
        old = add_chip(session, seed=0)
        new = add_chip(session, seed=1, seen_at=LATER)
        failure = {"state": EmbeddingState.FAILED, "error": "nothing was found", "tiles_wanted": 7}
        nothing = dict.fromkeys(("tiling", "tiles", "qubits", "longest_chain", "seconds", "method"))
        first = add_embedding(session, old)
        return [
            first,
            add_embedding(session, new, repaired_from=first, method="repaired"),
            add_embedding(session, new, **failure, **nothing),
        ]


def use(database: Database, embedding: int, batch: int) -> None:
    """Let a problem of a batch use an embedding."""
    row = {"batch_id": batch, "ordinal": 0, "first_image": 0, "count": 2, "label": f"annealq:{embedding}"}
    row |= {"embedding_id": embedding, "state": ProblemState.RESERVED, "reserved_at": START}
    with database.transaction() as session:
        session.execute(insert(Problem).values(row))


def first_batch(database: Database, run: int) -> int:
    with database.reading() as session:
        return session.execute(select(Batch.id).where(Batch.run_id == run).limit(1)).scalar_one()


def left(database: Database) -> list[int]:
    with database.reading() as session:
        return list(session.execute(select(Embedding.id).order_by(Embedding.id)).scalars())


def test_embeddings_are_listed_with_what_used_them(
    database: Database, stored: list[int], enqueue: Callable[..., Enqueued], cli: Cli
) -> None:
    use(database, stored[1], first_batch(database, enqueue().id))
    found = json.loads(cli("embeddings", "list", "--json"))
    assert [held["embedding_id"] for held in found] == stored[::-1]
    assert [held["problems"] for held in found] == [0, 1, 0]
    assert [held["current"] for held in found] == [True, True, False]
    assert [held["state"] for held in found] == ["failed", "ready", "ready"]
    assert (found[1]["tiles"], found[1]["qubits"], found[1]["longest_chain"]) == (2, 8, 2)
    table = cli("embeddings", "list")
    assert "outdated" in table
    assert "emulator: tiny" in table


def test_without_embeddings_the_list_says_how_to_find_one(cli: Cli) -> None:
    assert "annealq embeddings find" in cli("embeddings", "list")
    assert json.loads(cli("embeddings", "list", "--json")) == []


def test_one_embedding_is_shown_with_the_lengths_of_its_chains(stored: list[int], cli: Cli) -> None:
    shown = json.loads(cli("embeddings", "show", stored[1], "--json"))
    assert shown["chain_lengths"] == {"1": 4, "2": 2}
    assert shown["repaired_from"] == stored[0]
    text = cli("embeddings", "show", stored[1])
    assert f"by repaired, from embedding {stored[0]}" in text
    assert "1.33 on average" in text
    assert "nothing was found" in cli("embeddings", "show", stored[2])
    with pytest.raises(NotFound, match="embedding 99 does not exist"):
        cli("embeddings", "show", 99)


def test_an_embedding_is_drawn_on_its_chip(stored: list[int], cli: Cli, tmp_path: Path) -> None:
    whole, near = tmp_path / "whole.png", tmp_path / "near.svg"
    cli("embeddings", "show", stored[0], "--plot", whole)
    with Image.open(whole) as picture:
        assert picture.size[0] > 1000
        colours = np.unique(np.array(picture.convert("RGB")).reshape(-1, 3), axis=0)
    assert len(colours) > 20
    cli("embeddings", "show", stored[0], "--plot", near, "--tile", 1)
    assert "tile\N{NO-BREAK SPACE}1" in near.read_text(encoding="utf-8")
    with pytest.raises(ParameterError, match="tile 2 does not exist: choose 0 to 1"):
        cli("embeddings", "show", stored[0], "--plot", near, "--tile", 2)
    with pytest.raises(AnnealqError, match="has no chains"):
        cli("embeddings", "show", stored[2], "--plot", near)


def test_a_damaged_graph_is_reported(database: Database, stored: list[int], cli: Cli, tmp_path: Path) -> None:
    with database.transaction() as session:
        session.execute(update(Chip).values(qubits=Chip.qubits + 1))
    with pytest.raises(Corrupt, match="does not hold 31 qubits"):
        cli("embeddings", "show", stored[0], "--plot", tmp_path / "chip.png")


def test_units_are_known_by_the_network_that_was_prepared_for(
    database: Database, network: ChosenNetwork
) -> None:
    """`digits` has 40 visible and 10 class units."""
    with database.transaction() as session:
        held = add_embedding(session, add_chip(session))
        assert queries.unit_layers(session, held, 50) is None
    prepared = prepare(database, network, Visible.FOLDED)
    with database.transaction() as session:
        session.execute(update(Preparation).where(Preparation.id == prepared).values(embedding_id=held))
        assert queries.unit_layers(session, held, 50) == UnitLayers(("visible", "classes"), (40, 10))
        assert queries.unit_layers(session, held, 10) == UnitLayers(("classes",), (10,))
        assert queries.unit_layers(session, held, 11) is None


def prepare(database: Database, network: ChosenNetwork, visible: Visible = Visible.SAMPLED) -> int:
    parameters = Parameters(visible=visible, tiles=4)
    return enqueue_dry_run(database, network.id, Solver.EMULATOR, parameters, images=30, batch_size=10)


def test_only_unused_embeddings_for_earlier_graphs_are_removed(
    database: Database, stored: list[int], cli: Cli
) -> None:
    assert f"would remove embedding {stored[0]}" in cli("embeddings", "prune", "--dry-run")
    assert left(database) == stored
    removed = json.loads(cli("embeddings", "prune", "--json"))["removed"]
    assert [held["embedding_id"] for held in removed] == [stored[0]]
    assert left(database) == stored[1:]
    assert "nothing to remove" in cli("embeddings", "prune")
    shown = json.loads(cli("embeddings", "show", stored[1], "--json"))
    assert shown["repaired_from"] is None


def test_what_a_problem_used_is_never_removed(
    database: Database, stored: list[int], enqueue: Callable[..., Enqueued]
) -> None:
    use(database, stored[0], first_batch(database, enqueue().id))
    gone = prune(database, Criteria(older_than_days=0, all_unused=True))
    assert {held.embedding_id for held in gone} == set(stored[1:])
    assert left(database) == stored[:1]


def test_a_search_that_is_under_way_is_left_alone(database: Database, stored: list[int]) -> None:
    lease = {"state": EmbeddingState.SEARCHING, "lease_until": datetime.now(UTC)}
    with database.transaction() as session:
        session.execute(update(Embedding).where(Embedding.id == stored[0]).values(lease))
    assert prune(database, Criteria()) == []
    assert left(database) == stored


def test_old_ones_go_also_for_the_present_graph(timed: Database, clock: Any, stored: list[int]) -> None:
    """The clock stands still at the time when they were found."""
    clock.forward(5 * 86_400)
    assert [held.embedding_id for held in prune(timed, Criteria(older_than_days=6))] == stored[:1]
    gone = prune(timed, Criteria(older_than_days=5))
    assert {held.embedding_id for held in gone} == set(stored[1:])
    with pytest.raises(ParameterError, match="an age of -1 days"):
        Criteria(older_than_days=-1)


def test_what_a_preparation_found_may_go_the_preparation_stays(
    database: Database, network: ChosenNetwork, stored: list[int]
) -> None:
    prepared = prepare(database, network)
    with database.transaction() as session:
        session.execute(update(Preparation).values(embedding_id=stored[0]))
    assert [held.embedding_id for held in prune(database, Criteria())] == [stored[0]]
    with database.reading() as session:
        assert dry_runs.get(session, prepared).network == "digits@1"


def test_a_preparation_is_a_row_that_waits(database: Database, network: ChosenNetwork) -> None:
    prepared = prepare(database, network)
    with database.reading() as session:
        seen = dry_runs.get(session, prepared)
        assert (seen.state, seen.plan, seen.network) == (PreparationState.QUEUED, {}, "digits@1")
        row = session.get_one(Preparation, prepared)
        assert (row.images, row.batch_size, row.time_limit_s) == (30, 10, 60.0)
        assert Parameters.from_dict(row.parameters).tiles == 4
        with pytest.raises(NotFound, match="no dry run 99"):
            dry_runs.get(session, 99)


@pytest.mark.parametrize(
    ("solver", "parameters", "changes", "why"),
    [
        (Solver.LOCAL, Parameters(), {}, "local does not use embeddings"),
        (Solver.DWAVE, Parameters(noise=0.1), {}, "dwave has no noise"),
        (Solver.EMULATOR, Parameters(sweeps=9), {}, "emulator has no sweeps"),
        (Solver.EMULATOR, Parameters(), {"time_limit_s": 0.0}, "time limit is 0 s"),
        (Solver.EMULATOR, Parameters(), {"time_limit_s": float("nan")}, "time limit is nan s"),
        (Solver.EMULATOR, Parameters(), {"batch_size": 0}, "batch size is 0"),
    ],
)
def test_what_cannot_be_prepared_is_refused(
    database: Database,
    network: ChosenNetwork,
    solver: Solver,
    parameters: Parameters,
    changes: dict[str, Any],
    why: str,
) -> None:
    wanted = {"images": 0, "batch_size": 10, **changes}
    with pytest.raises(ParameterError, match=why):
        enqueue_dry_run(database, network.id, solver, parameters, **wanted)
    with database.reading() as session:
        assert session.execute(select(Preparation.id)).all() == []
