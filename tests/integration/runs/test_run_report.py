"""A run's report: its numbers are those of the rows, its energies those that were stored; it is one file."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import delete, select, update

from producer.dashboard.charts import cells
from producer.dashboard.report import run_facts, run_report
from producer.networks.chosen import ChosenNetwork
from producer.runs.enqueue import RunOptions, enqueue_run
from producer.runs.summary import confusion_table
from schema.codecs import samples
from schema.errors import Corrupt, NotFound
from schema.messages import Message, Task
from schema.parameters import Parameters, Solver
from schema.tables import Batch, BatchImages, Problem, Run, SampleSet
from tests.integration.conftest import Cli, some_images, work_off
from worker.context import Context

READS = 24


@pytest.fixture
def run(context: Context, working: ChosenNetwork) -> int:
    """Finish a run of 25 images in 3 batches."""
    parameters = Parameters(reads=READS, seed=7, sweeps=2)
    queued = enqueue_run(
        context.database, some_images(25), working, Solver.LOCAL, parameters, RunOptions(batch_size=10)
    )
    work_off(context, Message(Task.DISPATCH))
    return queued.id


def page(context: Context, run: int) -> str:
    with context.database.reading() as session:
        return run_report.html(session, run)


def test_the_page_says_what_the_rows_say(context: Context, run: int) -> None:
    with context.database.reading() as session:
        found = run_facts.read(session, run)
    assert sum(one.amount for one in found.scored) == 25
    assert found.margins.sum() == 25
    grid = cells.confusion(confusion_table(found.confusion, found.classes))
    assert grid is not None
    shown = Counter(
        {
            (row.name, name): int(cell.text.replace(",", ""))
            for row in grid.rows
            for name, cell in zip(grid.columns, row.cells, strict=True)
            if cell.text
        }
    )
    names = found.classes
    assert shown == Counter(
        {(names[label], "undecided" if k is None else names[k]): count for label, k, count in found.confusion}
    )
    text = page(context, run)
    for share in (f"{found.counts.accuracy:.2%}", found.provenance.content_sha256):
        assert share in text


def test_the_least_certain_images_are_those_of_the_data(context: Context, run: int) -> None:
    images = some_images(25)
    with context.database.reading() as session:
        found = run_facts.read(session, run)
    for one in found.least_certain:
        np.testing.assert_array_equal(one.pixels, images.images[one.result.image])


def test_energies_are_those_of_the_stored_reads(
    context: Context, run: int, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANNEALQ_DATABASE_URL", database_url)
    done = subprocess.run(
        [sys.executable, "-m", "worker.tools.energy_histograms", str(run), "13", "3", "99"],
        capture_output=True,
        check=True,
    )
    spectra = json.loads(done.stdout)
    assert set(spectra) == {"3", "13"}
    with context.database.reading() as session:
        data = session.execute(
            select(SampleSet.data)
            .join(Problem, Problem.id == SampleSet.problem_id)
            .join(Batch, Batch.id == Problem.batch_id)
            .where(Batch.run_id == run, Batch.first_image == 10)
        ).scalar_one()
    stored = samples.decode(data)
    edges = np.array(spectra["13"]["edges"])
    counted = np.sum(list(spectra["13"]["classes"].values()), axis=0)
    np.testing.assert_allclose(
        edges[[0, -1]], [stored.energies[3].min(), stored.energies[3].max()], rtol=1e-5
    )
    assert counted.sum() == READS
    expected = np.histogram(stored.energies[3].astype(np.float64), edges + np.array([-1e-5, *[0] * 29, 1e-5]))
    assert np.abs(expected[0] - counted).sum() <= 2  # float32 against float64 at an edge
    one_hot = stored.bits[3][:, -10:].sum(axis=1) == 1
    assert sum(spectra["13"]["classes"].get("-1", [0])) == READS - one_hot.sum()
    with context.database.reading() as session:
        network_id = session.execute(select(Run.network_id).where(Run.id == run)).scalar_one()
        network = context.networks.get(session, network_id)
    for image in (3, 13):
        alone = network.features(some_images(25).images[image : image + 1])[0]
        np.testing.assert_allclose(spectra[str(image)]["visible"]["values"], alone, rtol=1e-3)


def test_the_page_is_one_file_that_fetches_nothing(
    context: Context, run: int, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANNEALQ_DATABASE_URL", database_url)
    text = page(context, run)
    assert "Energies of the reads" in text
    assert not re.search(r"""(src|href)\s*=\s*["'](?!data:|#)""", text)
    assert not re.search(r"url\(|@import|<script|<link|https?://", text)
    assert len(text) < 5_000_000


def test_names_are_never_markup(context: Context, run: int) -> None:
    hostile = "<script>alert(1)</script> | `x`\n# y"
    with context.database.transaction() as session:
        session.execute(update(Run).where(Run.id == run).values(name=hostile))
        first = select(Batch.id).where(Batch.run_id == run, Batch.first_image == 0).scalar_subquery()
        session.execute(
            update(BatchImages).where(BatchImages.batch_id == first).values(sources=[hostile] * 10)
        )
    assert "<script" not in page(context, run)
    with context.database.reading() as session:
        text = run_report.markdown(session, run)
    code = [line for line in text.splitlines() if line.startswith("    ")]
    prose = [line for line in text.splitlines() if line not in code]
    assert len(code) == 2  # export the images, classify them again
    assert not [line for line in prose if "<script" in line or line.startswith("# y")]


def test_a_run_that_has_not_begun_has_a_page(context: Context, working: ChosenNetwork) -> None:
    queued = enqueue_run(
        context.database, some_images(5), working, Solver.LOCAL, Parameters(), RunOptions(batch_size=5)
    )
    text = page(context, queued.id)
    assert "queued" in text
    assert "The least certain images" not in text


def test_what_is_missing_or_damaged_is_named(context: Context, run: int, cli: Cli, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no run 99"):
        cli("runs", "report", "99", "--html", tmp_path / "no.html")
    assert not list(tmp_path.glob("*no*"))
    with context.database.transaction() as session:
        of_run = select(Batch.id).where(Batch.run_id == run)
        session.execute(
            update(BatchImages).where(BatchImages.batch_id.in_(of_run)).values(images=b"\0" * 640)
        )
    with pytest.raises(Corrupt, match=f"batch .* of run {run}"):
        cli("runs", "report", run, "--html", tmp_path / "no.html")
    with context.database.transaction() as session:
        session.execute(delete(BatchImages))
    with pytest.raises(Corrupt, match=f"batch .* of run {run}.*gone"):
        cli("runs", "report", run, "--html", tmp_path / "no.html")
    assert not list(tmp_path.glob("*no*"))


def test_markdown_goes_to_standard_output(context: Context, run: int, cli: Cli) -> None:
    text = cli("runs", "report", run)
    assert text.startswith(f"# Run {run}: ")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) > 20
