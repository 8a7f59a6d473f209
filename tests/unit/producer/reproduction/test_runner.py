"""The paper's figures as data, and what is built from scores: without a queue."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from producer.images.imageset import ImageSet
from producer.reproduction import charts, digits5x5
from producer.reproduction.baseline import Baseline
from producer.reproduction.paper import TABLE_1, TABLE_2, TIMES, PublishedTable
from producer.reproduction.report import Comparison
from producer.reproduction.runner import one_of_each
from producer.reproduction.scores import ScoreTable, published
from producer.reproduction.trial import ExperimentResult, Scale, Trial
from schema.errors import ImageError
from schema.network.architecture import preset


@pytest.mark.parametrize(("table", "classes"), [(TABLE_1, 5), (TABLE_2, 10)])
def test_the_papers_tables_have_one_row_for_each_class_of_their_network(
    table: PublishedTable, classes: int
) -> None:
    scores = published(table).scores
    assert scores.shape == (classes, classes)
    assert preset(table.network).classes == classes
    assert scores.min() >= 0
    assert scores.max() <= 100


def test_the_papers_tables_say_what_the_paper_says_of_them() -> None:
    first, second = published(TABLE_1), published(TABLE_2)
    assert (first.right, first.runner_up) == (5, 86)
    # The caption counts ties (0, 1, 3, 5, 6 and 7 "show dominance"); alone at the top are 0, 3 and 5.
    assert (second.right, second.tied) == (3, 3)
    assert TIMES.read_us == 168


def test_what_is_read_off_a_table() -> None:
    scores = np.array([[90.0, 10, 0], [50, 50, 0], [0, 80, 20], [0, 0, 0]])
    table = ScoreTable(scores, np.array([0, 1, 2, 2]))
    assert (table.right, table.tied) == (1, 1)
    assert (table.lowest_right, table.runner_up) == (0, 80)
    assert json.loads(json.dumps(table.to_dict()))["scores"] == scores.tolist()


def test_the_digits_and_their_flips() -> None:
    clean, flips = digits5x5.digits(), digits5x5.flips()
    assert clean.images.shape == (5, 5, 5)
    assert flips.images.shape == (125, 5, 5)
    assert clean.images.max() == flips.images.max() == 1
    assert flips.labels is not None
    off = np.abs(flips.images.astype(int) - clean.images[flips.labels]).sum(axis=(1, 2))
    np.testing.assert_array_equal(off, 1)
    assert len(np.unique(flips.images, axis=0)) == 125
    # No flip of one digit is a flip of another: all of them can be told apart.
    apart = np.abs(clean.images[:, None].astype(int) - clean.images[None]).sum(axis=(2, 3))
    assert apart[~np.eye(5, dtype=bool)].min() > 2


def test_one_of_each_class_by_the_seed() -> None:
    labels = np.random.default_rng(0).integers(0, 4, 200)
    images = ImageSet("random", np.arange(200, dtype=np.uint8).reshape(200, 1, 1), labels, None, None)
    chosen = one_of_each(images, 4, seed=1)
    assert chosen.labels is not None
    assert chosen.labels.tolist() == [0, 1, 2, 3]
    assert labels[chosen.images.ravel()].tolist() == [0, 1, 2, 3]
    np.testing.assert_array_equal(chosen.images, one_of_each(images, 4, seed=1).images)
    assert not np.array_equal(chosen.images, one_of_each(images, 4, seed=2).images)
    with pytest.raises(ImageError, match="no image of class 4"):
        one_of_each(images, 5, seed=1)
    with pytest.raises(ImageError, match="no labels"):
        one_of_each(ImageSet("bare", images.images, None, None, None), 4, seed=1)


def test_fewer_reads_scale_everything_down() -> None:
    scale = Scale(1000, fewer=(10, 100, 500), noise=(0.0,), noise_reads=100)
    assert scale.changed(None, None) == scale
    assert scale.changed(50, 7) == Scale(50, fewer=(10,), noise=(0.0,), noise_reads=50, limit=7)
    assert len(scale.changed(None, 7).part(digits5x5.flips()).images) == 7


def outcome(right: int, *, reads: int = 100, noise: float = 0.0, classes: int = 5) -> ExperimentResult:
    """A run over 1,000 images, so many of them right."""
    labels = np.arange(1000) % classes
    predicted = np.where(np.arange(1000) < right, labels, -1)
    parameters = {"reads": reads, "noise": noise}
    return ExperimentResult(
        7, "net@1", parameters, labels, predicted, np.eye(classes)[labels], 0.5, 10.0, 5.0
    )


def trial(rights: dict[int, int]) -> Trial:
    """Accuracy against reads as given; under noise two draws that differ, 900 right on average."""
    by_reads = tuple(outcome(right, reads=reads) for reads, right in rights.items())
    clean, noisy = (outcome(990),), tuple(outcome(right, noise=0.05) for right in (880, 920))
    scores = ScoreTable(100 * np.eye(5), np.arange(5))
    return Trial(
        "energy", scores, by_reads[-1], by_reads[-1], Baseline(1000, 991, 1, 1), by_reads, (clean, noisy)
    )


def test_an_outcome_counts_undecided_and_unlabelled_images_as_not_right() -> None:
    assert outcome(250).accuracy == 0.25
    blind = ExperimentResult(
        1, "n", {}, np.array([-1, 3]), np.array([-1, 3]), np.zeros((2, 4)), 0.0, 0.0, 0.0
    )
    assert blind.right == 1


@pytest.mark.parametrize(
    ("rights", "fewest"),
    [({10: 900, 50: 989, 1000: 990}, 50), ({10: 900, 50: 988, 1000: 990}, 1000), ({10: 995, 1000: 990}, 10)],
)
def test_the_fewest_reads_are_within_a_tenth_of_a_point(rights: dict[int, int], fewest: int) -> None:
    assert trial(rights).fewest_reads == fewest


def comparison() -> Comparison:
    trials = {"energy": trial({10: 700, 100: 980, 1000: 990})}
    scale = Scale(1000, fewer=(10, 100), noise=(0.0, 0.05))
    return Comparison("table1", TABLE_1.source, TABLE_1, trials, "1,000 images", scale, seed=3)


def test_the_report_has_both_tables_and_all_curves() -> None:
    done = comparison().report()
    page = io.StringIO()
    Console(width=160, file=page).print(done.text)
    shown = page.getvalue()
    for expected in (
        "paper, Table 1",
        "5 of 5",
        "99.00% (990 of 1,000)",
        "70.00%",
        "90.00% (88.00% to 92.00%)",
        "99.10%",
    ):
        assert expected in shown
    numbers = json.loads(json.dumps(done.numbers))
    assert numbers["published"]["runner_up"] == 86
    assert [run["reads"] for run in numbers["ours"]["energy"]["by_reads"]] == [10, 100, 1000]
    by_noise = numbers["ours"]["energy"]["by_noise"]
    assert [[run["accuracy"] for run in draws] for draws in by_noise] == [[0.99], [0.88, 0.92]]


def test_figures_and_numbers_are_written(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    done = comparison().report()
    written = done.save(tmp_path)
    assert {path.name for path in written} == {path.name for path in tmp_path.iterdir()}
    assert [path.name for path in written] == [
        "table1.png",
        "table1_reads.png",
        "table1_noise.png",
        "table1.json",
    ]
    for path in written[:-1]:
        with Image.open(path) as image:
            assert image.format == "PNG"
            assert len(image.convert("RGB").getcolors(1 << 24) or []) > 10  # more than an empty frame
    assert json.loads(written[-1].read_text()) == done.numbers


def test_times_are_drawn_beside_the_papers(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    bars = [charts.Bar("paper: QPU, one read", 168.0, published=True), charts.Bar("ours", 30_000.0)]
    charts.draw_times(bars, tmp_path / "times.png")
    with Image.open(tmp_path / "times.png") as image:
        assert image.width > 500
