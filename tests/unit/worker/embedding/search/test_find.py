"""Embeddings and tilings of any network: valid by Ocean's judgement, and refused where nothing can fit."""

from __future__ import annotations

import numpy as np
import pytest

from schema.codecs.tiling import Tiling
from schema.errors import Refused
from tests import models
from tests.chips import chains_of, chip, verify
from worker.embedding.model.graphs import Interactions
from worker.embedding.search.find import find_embedding

CHIPS = [("chimera", 6), ("pegasus", 4), ("zephyr", 3)]


@pytest.mark.parametrize(("topology", "side"), CHIPS)
def test_any_network_is_tiled(topology: str, side: int) -> None:
    solver = chip(topology, side, dead=0.02, dead_couplers=5)
    graph = Interactions.of(models.pooled("folded"))
    found = find_embedding(graph, solver, tiles=5, time_limit_s=60.0, seed=3)  # ends with the fifth
    verify(graph, solver, *chains_of(found.tiling))
    assert found.tiling.tiles == 5
    assert found.seed == 3


def test_no_more_tiles_than_wanted() -> None:
    solver = chip("zephyr", 3)
    graph = Interactions.of(models.pooled("folded"))
    assert find_embedding(graph, solver, tiles=3, time_limit_s=5.0).tiling.tiles == 3


def test_progress_rises_to_its_end() -> None:
    seen: list[tuple[str, float]] = []
    graph = Interactions.of(models.pooled("folded"))
    find_embedding(
        graph, chip("zephyr", 2), time_limit_s=1.0, report=lambda step, done: seen.append((step, done))
    )
    shares = [done for _, done in seen]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_units_without_interactions_get_a_qubit() -> None:
    graph = Interactions((2, 2), np.array([[1, 2]], dtype=np.int32), "sparse")
    found = find_embedding(graph, chip("zephyr", 1), tiles=1)
    verify(graph, chip("zephyr", 1), *chains_of(found.tiling))
    assert found.tiling.lengths.tolist() == [[1, 1, 1, 1]]


def test_what_cannot_fit_is_refused_before_the_search() -> None:
    solver = chip("zephyr", 2)
    with pytest.raises(Refused, match=r"at least \d+ qubits.* has 160 working ones: \d+ are missing"):
        find_embedding(Interactions.of(models.conv358()), solver, time_limit_s=1e-9)
    torn = chip("zephyr", 1, dead_couplers=230)
    with pytest.raises(Refused, match=r"need at least \d+ couplers.* has 50: \d+ are missing"):
        find_embedding(Interactions.of(models.head("folded", classes=12)), torn, time_limit_s=1e-9)
    with pytest.raises(Refused, match="tiles must be 1 or more"):
        find_embedding(Interactions.of(models.head("folded")), solver, tiles=0)


def test_an_interrupted_search_is_continued() -> None:
    solver, graph = chip("zephyr", 3), Interactions.of(models.pooled("folded"))
    saved: list[Tiling] = []

    def save(tiling: Tiling) -> None:
        saved.append(tiling)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        find_embedding(graph, solver, time_limit_s=10.0, save=save)
    verify(graph, solver, *chains_of(saved[0]))
    again = find_embedding(graph, solver, time_limit_s=10.0, found=(saved[0], 9.5))
    assert again.method == "resumed"
    assert again.tiling.tiles >= saved[0].tiles
    assert again.seconds > 9.5
    verify(graph, solver, *chains_of(again.tiling))


def test_a_search_without_time_left_gives_what_it_has_found() -> None:
    solver, graph = chip("zephyr", 3), Interactions.of(models.pooled("folded"))
    found = find_embedding(graph, solver, tiles=2, time_limit_s=20.0).tiling
    again = find_embedding(graph, solver, tiles=2, time_limit_s=1.0, found=(found, 70.0))
    assert again.tiling.tiles == found.tiles
