"""Figures of Q: everything that is coupled is drawn, 0 is white, and no label covers another."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from schema.errors import ParameterError

pytest.importorskip("matplotlib", reason="the extra `plots` is not installed")

from matplotlib.figure import Figure
from matplotlib.text import Text

from producer.figures import q_matrix as figures_q_matrix
from producer.figures import saving
from tests import models
from worker.qubo.energy_model import EnergyModel

KINDS = {
    "digits5x5": ("visible", "pool", "classes"),
    "mnist": ("visible", "classes"),
    "conv358": ("visible", "conv", "dense", "classes"),
}
MODELS = {"digits5x5": models.pooled(), "mnist": models.head(), "conv358": models.conv358()}


def q_of(model: EnergyModel) -> figures_q_matrix.FloatArray:
    return model.q_matrix(models.features_for(model, 1)[0])


def figure_of(name: str, scale: float = 1.0, classes: tuple[str, ...] | None = None) -> Figure:
    model = MODELS[name]
    names = classes or tuple(str(k) for k in range(model.sizes[-1]))
    q_matrix = q_of(model)
    q_matrix[: model.sizes[0]] *= scale
    return figures_q_matrix.q_figure(q_matrix, model.sizes, KINDS[name], names, f"{name}@1")


def texts(figure: Figure) -> list[Text]:
    """All that is written in the figure; matplotlib keeps labels of ticks that it does not draw, too."""
    found = list(figure.texts)
    for axes in figure.axes:
        found += [axes.title, *axes.texts]
        if axes.axison:
            found += [axes.xaxis.label, axes.yaxis.label]
            for axis in (axes.xaxis, axes.yaxis):
                low, high = sorted(axis.get_view_interval())
                found += [
                    label
                    for tick in axis.get_major_ticks()
                    for label in (tick.label1, tick.label2)
                    if label.get_visible() and low <= tick.get_loc() <= high
                ]
        if legend := axes.get_legend():
            found += legend.get_texts()
    return [text for text in found if text.get_text().strip()]


@pytest.mark.parametrize("scale", [1.0, 0.001])  # linear and asinh
@pytest.mark.parametrize("name", MODELS)
def test_no_label_covers_another(name: str, scale: float) -> None:
    figure = figure_of(name, scale)
    figure.draw_without_rendering()
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts(figure)]
    assert len(boxes) > 8
    for (one, left), (other, right) in combinations(boxes, 2):
        assert not left.overlaps(right), (one, other)
    inside = figure.bbox
    assert all(inside.x0 <= b.x0 and b.x1 <= inside.x1 and b.y0 >= 0 and b.y1 <= inside.y1 for _, b in boxes)


@pytest.mark.parametrize("scale", [1.0, 0.001])
@pytest.mark.parametrize("name", MODELS)
def test_the_matrix_shows_q_with_0_in_the_middle_of_its_colours(name: str, scale: float) -> None:
    (image,) = next(axes for axes in figure_of(name, scale).axes if "matrix" in axes.get_title()).images
    shown = image.get_array()
    q_matrix = q_of(MODELS[name])
    q_matrix[: MODELS[name].sizes[0]] *= scale
    np.testing.assert_array_equal(shown.filled(0), q_matrix)
    assert shown.mask[np.tril_indices(len(q_matrix), -1)].all()
    assert image.norm(0.0) == pytest.approx(0.5)
    assert image.norm(-0.25) + image.norm(0.25) == pytest.approx(1.0)
    smallest_block = np.abs(q_matrix[: MODELS[name].sizes[0]]).max()
    assert abs(image.norm(smallest_block) - 0.5) > 0.02  # it can be seen


def test_the_graph_has_a_line_for_every_coupler_and_a_node_for_every_unit() -> None:
    model = MODELS["digits5x5"]
    axes = figure_of("digits5x5").axes
    lines, nodes = axes[0].collections
    assert len(lines.get_paths()) == len(model.edges)
    assert len(nodes.get_offsets()) == model.units
    np.testing.assert_array_equal(np.sort(lines.get_array()), np.sort(model.couplings))
    np.testing.assert_array_equal(nodes.get_array(), q_of(model).diagonal())
    named = {text.get_text() for text in texts(axes[0].figure)}
    assert {"v1", "v20", "hp5", "20 visible", "5 pooling", "5 class", "v1–v20", "hc1–hc5"} <= named


def test_a_large_network_has_no_graph() -> None:
    assert [axes.get_title() for axes in figure_of("conv358").axes if axes.get_title()] == ["the matrix $Q$"]


def test_class_names_are_text_and_never_mathematics() -> None:
    names = ("$\\frac$", "a class with a very long name", "_", "^", "\\")
    figure = figure_of("digits5x5", classes=names)
    figure.draw_without_rendering()
    assert {"$\\frac$", "a class wit…"} <= {text.get_text() for text in texts(figure)}


@pytest.mark.parametrize("suffix", saving.FORMATS)
def test_the_same_q_gives_the_same_file(tmp_path: Path, suffix: str) -> None:
    model = MODELS["digits5x5"]
    files = [tmp_path / f"{k}{suffix}" for k in range(2)]
    for file in files:
        figures_q_matrix.draw_q(
            file, q_of(model), model.sizes, KINDS["digits5x5"], tuple("01234"), "digits5x5@1"
        )
    assert files[0].read_bytes() == files[1].read_bytes()
    if suffix == ".png":
        with Image.open(files[0]) as picture:
            assert min(picture.size) >= 1000


def test_a_network_without_couplers_is_drawn(tmp_path: Path) -> None:
    figures_q_matrix.draw_q(
        tmp_path / "q.png", np.zeros((3, 3)), (1, 2), ("visible", "classes"), ("a", "b"), "empty"
    )
    assert (tmp_path / "q.png").stat().st_size > 10_000


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"not a figure: name a file with \.png, \.pdf, \.svg"):
        saving.check_format(tmp_path / "q.jpeg")
    with pytest.raises(ParameterError, match="cannot be written"):
        figures_q_matrix.draw_q(
            tmp_path / "no" / "q.png", np.eye(3), (1, 2), ("visible", "classes"), ("a", "b"), "nowhere"
        )
