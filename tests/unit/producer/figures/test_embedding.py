"""Figures of embeddings: position and colour of each part."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, PathCollection

from producer.embeddings.chips import ChipGraph
from producer.embeddings.queries import UnitLayers
from producer.figures import chip_layout, embedding, saving
from schema.codecs.tiling import Tiling
from schema.errors import Corrupt, ParameterError
from tests import chips

# Two tiles of three units on a Chimera C2: chains of 1, 1 and 2 qubits.
TILES = Tiling.from_chains([[[0], [4], [1, 5]], [[8], [12], [9, 13]]])
LAYERS = UnitLayers(("visible", "classes"), (2, 1))


def chip(dead: int = 3) -> ChipGraph:
    """A Chimera C2 whose last qubits are dead."""
    full = chips.chip("chimera", 2)
    working = full.qubits[full.qubits < full.size - dead]
    couplers = full.couplers[(full.couplers < full.size - dead).all(axis=1)]
    return ChipGraph(full.name, full.graph_id, full.topology, full.shape, working, couplers)


def place(*qubits: int) -> np.ndarray:
    return chip_layout.places("chimera", (2, 2, 4), np.array(qubits, dtype=np.int32))


def points(axes: object) -> list[PathCollection]:
    return [held for held in axes.collections if isinstance(held, PathCollection)]


def lines(axes: object) -> list[LineCollection]:
    return [held for held in axes.collections if isinstance(held, LineCollection)]


def test_the_chip_shows_working_and_dead_qubits_and_every_chain() -> None:
    axes = embedding.chip_figure(chip(), TILES, "title", LAYERS).axes[0]
    working, dead, used, classes = points(axes)
    assert len(working.get_offsets()) == 29
    np.testing.assert_array_equal(dead.get_offsets(), place(29, 30, 31))
    np.testing.assert_array_equal(used.get_offsets(), place(0, 1, 4, 5, 8, 9, 12, 13))
    np.testing.assert_array_equal(classes.get_offsets(), place(1, 5, 9, 13))
    (chains,) = lines(axes)
    drawn = {tuple(map(tuple, segment)) for segment in chains.get_segments()}
    assert drawn == {tuple(map(tuple, place(1, 5))), tuple(map(tuple, place(9, 13)))}


def test_each_tile_has_a_colour_of_its_own() -> None:
    axes = embedding.chip_figure(chip(), TILES, "title", None).axes[0]
    used = points(axes)[-1].get_facecolors()
    assert (used[:4] == used[0]).all()
    assert (used[4:] == used[4]).all()
    assert not np.allclose(used[0], used[4])
    many = embedding.tile_colours(300)
    assert len(np.unique(many, axis=0)) == 300
    assert np.abs(np.diff(many, axis=0)).max(axis=1).min() > 0.2


def test_where_all_units_are_class_units_none_is_marked() -> None:
    only = UnitLayers(("classes",), (3,))
    axes = embedding.chip_figure(chip(), TILES, "title", only).axes[0]
    assert len(points(axes)) == 3


def test_one_tile_from_near_names_its_units_and_shows_their_couplers() -> None:
    axes = embedding.tile_figure(chip(), TILES, 1, "title", LAYERS).axes[0]
    assert sorted(text.get_text() for text in axes.texts) == ["hc1", "v1", "v2"]
    between, chains = lines(axes)
    assert len(between.get_segments()) == 3  # of qubits 8, 9, 12, 13 all four pairs are coupled
    assert len(chains.get_segments()) == 1
    low, high = axes.get_xlim()
    shown = place(8, 9, 12, 13)
    assert low < shown[:, 0].min()
    assert high > shown[:, 0].max()
    colours = points(axes)[-1].get_facecolors()
    assert len(np.unique(colours, axis=0)) == 2  # one for each layer
    assert axes.get_title() == "title, tile\N{NO-BREAK SPACE}1"


def test_an_upright_tile_fills_the_page_and_its_title_is_not_cut() -> None:
    upright = Tiling.from_chains([[[0], [4], [16, 17]]])
    title = "a network folded (3 units): 1 tile on a chip, 4 of 29 qubits, longest chain 2"
    figure = embedding.tile_figure(chip(), upright, 0, title, UnitLayers(("visible", "classes"), (1, 2)))
    FigureCanvasAgg(figure).draw()
    (axes,) = figure.axes
    page, drawn, heading = figure.bbox, axes.get_window_extent(), axes.title.get_window_extent()
    assert page.height > page.width
    assert drawn.width > 0.75 * page.width
    assert heading.x0 >= 0
    assert heading.x1 <= page.width
    first, second = points(axes)[-1].get_facecolors()[1:3]  # of two class units
    assert not np.allclose(first, second)


@pytest.mark.parametrize("suffix", sorted(saving.FORMATS))
def test_the_same_embedding_gives_the_same_file(tmp_path: Path, suffix: str) -> None:
    first, second = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    for path in (first, second):
        embedding.draw(path, chip(), TILES, "1 < 2 & $3", LAYERS)
    assert first.read_bytes() == second.read_bytes()


def test_a_tiling_of_another_chip_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Corrupt, match="qubit 13 of the embedding is not on chimera"):
        embedding.draw(tmp_path / "a.png", chip(dead=19), TILES, "title", None)
    with pytest.raises(ParameterError, match="tile 2 does not exist"):
        embedding.draw(tmp_path / "a.png", chip(), TILES, "title", None, tile=2)
    assert list(tmp_path.iterdir()) == []
