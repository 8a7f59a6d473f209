"""Images are read from a large file while their run works: each comes once, wherever the reader is killed."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import select, update

from producer.api.metrics import stored
from producer.commands.shared.reading import resume_run
from producer.context import AppContext
from producer.dashboard.views.overview import queue_tiles
from producer.forecasts import workload
from producer.images.origin import DataOrigin
from producer.images.pictures import decoding
from producer.images.pieces.npy import NpyPieces
from producer.images.pieces.piece import Piece
from producer.intake import groups
from producer.intake.find import source_of
from producer.intake.open import open_intake
from producer.intake.read_on import is_open, read_on
from producer.intake.source import LargeSource, SourceFile
from producer.networks.chosen import ChosenNetwork
from producer.progress.intake import intake_of
from producer.progress.stages import progress_of
from producer.runs import control, queries
from producer.runs.enqueue import enqueue_run
from producer.runs.request import RunOptions
from producer.runs.summary import run_object
from schema.calendar.run_hours import RunHours
from schema.database import Database
from schema.database.crash_points import CrashPoint
from schema.errors import IdempotencyConflict, ImageError, ParameterError, StaleState
from schema.messages import Message, Task
from schema.parameters import Parameters, Solver
from schema.settings import load
from schema.states import IntakeState, RunState
from schema.tables import Batch, BatchImages, Intake, Run
from tests.conftest import ROOT
from tests.integration.conftest import START, Cli, Clock, some_images, work_off
from worker.context import Context
from worker.reconcile import reconcile

IMAGES, SIZE = 95, 10
PARAMETERS = Parameters(reads=5)


@pytest.fixture(autouse=True)
def _small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two batches of 10 images of 8 x 8 pixels in a transaction."""
    monkeypatch.setattr(groups, "_GROUP_BYTES", 2 * SIZE * 64)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A file of images, and one of their labels."""
    images = some_images(IMAGES)
    np.save(tmp_path / "images.npy", images.images)
    np.save(tmp_path / "labels.npy", np.asarray(images.labels))
    return tmp_path / "images.npy", tmp_path / "labels.npy"


def source(images: Path, labels: Path, limit: int | None = None) -> LargeSource:
    return source_of(DataOrigin(str(images), images.name, str(labels), limit=limit))


def opened(
    database: Database, network: ChosenNetwork, source: LargeSource, key: str | None = None, **options: Any
) -> int:
    chosen = RunOptions(batch_size=SIZE, key=key, **options)
    return open_intake(database, source, network, Solver.LOCAL, PARAMETERS, chosen).id


def batches(database: Database, run: int) -> list[Any]:
    columns = (Batch.ordinal, Batch.first_image, Batch.count, Batch.shape, Batch.dtype)
    parts = (BatchImages.images, BatchImages.images_sha256, BatchImages.labels, BatchImages.sources)
    query = select(*columns, *parts).join(BatchImages, BatchImages.batch_id == Batch.id)
    with database.reading() as session:
        return [
            tuple(row) for row in session.execute(query.where(Batch.run_id == run).order_by(Batch.ordinal))
        ]


def row(database: Database, run: int) -> Any:
    columns = (
        Run.state,
        Run.images,
        Run.batches,
        Run.content_sha256,
        Intake.state.label("intake"),
        Intake.error,
    )
    with database.reading() as session:
        return session.execute(select(*columns).join(Intake, Intake.id == Run.id).where(Run.id == run)).one()


def at_once(database: Database, network: ChosenNetwork) -> int:
    return enqueue_run(
        database, some_images(IMAGES), network, Solver.LOCAL, PARAMETERS, RunOptions(batch_size=SIZE)
    ).id


def test_a_file_read_in_pieces_makes_the_batches_of_one_read_at_once(
    database: Database, network: ChosenNetwork, files: tuple[Path, Path]
) -> None:
    large, told = source(*files), list[int]()
    run = opened(database, network, large)
    begun = row(database, run)
    assert (begun.images, begun.batches, begun.intake) == (20, 2, IntakeState.READING)
    read_on(database, run, large, told.append)
    ended = row(database, run)
    assert (ended.images, ended.batches, ended.intake) == (IMAGES, 10, IntakeState.ENDED)
    assert told == [20, 40, 60, 80, 95]
    assert batches(database, run) == batches(database, at_once(database, network))


def test_the_digest_does_not_depend_on_the_size_of_transactions(
    database: Database, network: ChosenNetwork, files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = []
    for size in (SIZE, 3 * SIZE, IMAGES):
        monkeypatch.setattr(groups, "_GROUP_BYTES", size * 64)
        run = opened(database, network, source(*files))
        read_on(database, run, source(*files))
        digests.append(row(database, run).content_sha256)
    assert len(set(digests)) == 1


def test_workers_score_what_is_read_and_end_the_run_when_all_is(
    context: Context, working: ChosenNetwork, files: tuple[Path, Path]
) -> None:
    database, large = context.database, source(*files)
    run = opened(database, working, large)
    work_off(context, Message(Task.DISPATCH))
    with database.reading() as session:
        now = database.now(session)
        progress, waits = progress_of(session, run, now), run_object(session, run, now)["waits"]
        shown = intake_of(session, run, now)
    assert (progress.state, progress.scored, progress.images, progress.expected) == (
        RunState.RUNNING,
        20,
        20,
        95,
    )
    assert shown is not None
    assert shown.text == progress.waits == waits == "reading: 20 of 95 images so far"
    assert progress.left_s(now) is None
    work_off(context, Message(Task.AGGREGATE_RUN, run))
    reconcile(database, context.settings, context.hints)
    assert row(database, run).state is RunState.RUNNING
    read_on(database, run, large)
    work_off(context, Message(Task.DISPATCH))
    with database.reading() as session:
        found, counts = queries.run(session, run), queries.counts(session, run)
        assert intake_of(session, run, now) is None
    assert (found.state, found.batches_scored) == (RunState.DONE, 10)
    assert counts.decided + counts.undecided == IMAGES


def test_images_that_are_still_to_be_read_are_counted_wherever_runs_are(
    database: Database, working: ChosenNetwork, files: tuple[Path, Path], cli: Cli
) -> None:
    run = opened(database, working, source(*files))

    def shown() -> tuple[str, int | None, int, str, tuple[str, str] | None]:
        with database.reading() as session:
            row, (waiting,) = queries.run(session, run), workload.waiting_runs(session)
            tiles = {name: (value, note) for name, value, note in queue_tiles(session, database.now(session))}
        to_read = tiles.get("images to read")
        return row.images_text, row.images_to_come, waiting.images, waiting.basis, to_read

    assert shown()[:3] == ("20 of 95 read", 75, 95)
    assert shown()[4] == ("75", "not read yet, of 1 source")
    assert "20 of 95 read" in cli("runs", "list")
    (planned,) = json.loads(cli("plan", "--json"))["runs"]
    assert planned["images"] + planned["left_images"] == 95
    with database.reading() as session:
        metrics = {each.name: each for each in stored.collect(session, database.now(session))}
    assert [sample.value for sample in metrics["annealq_images_unread"].samples] == [75]
    with database.transaction() as session:
        session.execute(update(Intake).values(total=None))
    assert shown()[:3] == ("reading, 20 so far", None, 20)
    assert "its source does not say how many" in shown()[3]
    assert shown()[4] == ("unknown", "not read yet, of 1 source, 1 of unknown length")
    with database.transaction() as session:
        session.execute(update(Intake).values(total=IMAGES))
    read_on(database, run, source(*files))
    assert shown()[:3] == ("95", 0, 95)
    assert shown()[4] is None


def test_a_share_of_what_is_read_is_a_smaller_share_of_all(
    context: Context, working: ChosenNetwork, files: tuple[Path, Path]
) -> None:
    run = opened(context.database, working, source(*files))
    work_off(context, Message(Task.DISPATCH))
    with context.database.reading() as session:
        row = queries.run(session, run)
    assert (row.batches_scored, row.batches) == (2, 2)
    assert row.scored_share == pytest.approx(20 / 95)
    control.cancel(context.database, run)
    with context.database.reading() as session:
        row = queries.run(session, run)
    assert (row.images_text, row.scored_share) == ("20", 1.0)


def pictures(path: Path, coloured: range) -> None:
    """Write 30 pictures of 8 x 8 pixels to a zip file; those with numbers in ``coloured`` have colours."""
    images = some_images(30).images
    with zipfile.ZipFile(path, "w") as file:
        for k, pixels in enumerate(images):
            data = io.BytesIO()
            blue = np.full((8, 8), 90, np.uint8)  # a grey value of 10
            picture = np.stack([0 * blue, 0 * blue, blue], axis=2) if k in coloured else pixels
            Image.fromarray(picture).save(data, "PNG")
            file.writestr(f"{k:02}.png", data.getvalue())


def test_what_was_changed_is_noted_when_it_is_read(
    database: Database, network: ChosenNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "PIECE_BYTES", SIZE * 64)
    path = tmp_path / "pictures.zip"
    pictures(path, range(22, 30))
    large = source_of(DataOrigin(str(path), path.name), network.takes)
    run = opened(database, network, large)

    def notes() -> tuple[str, ...]:
        with database.reading() as session:
            return queries.run(session, run).notes

    assert notes() == ()  # the first 20 are grey
    read_on(database, run, source_of(DataOrigin(str(path), path.name), network.takes))  # another process
    assert notes() == ("some turned from colour to grey",)
    np.save(tmp_path / "colours.npy", np.repeat(some_images(30).images[..., np.newaxis], 3, axis=3))
    large = source_of(DataOrigin(str(tmp_path / "colours.npy"), "colours.npy"))
    run = opened(database, network, large)
    read_on(database, run, large)
    assert notes() == ("all turned from colour to grey, as network 'digits' takes them",)


def test_a_run_that_waits_for_its_last_hint_is_found_by_the_reconciler(
    context: Context, working: ChosenNetwork, files: tuple[Path, Path]
) -> None:
    large = source(*files, limit=20)
    run = opened(context.database, working, large)
    work_off(context, Message(Task.DISPATCH))
    read_on(context.database, run, large)
    reconcile(context.database, context.settings, context.hints)
    assert Message(Task.AGGREGATE_RUN, run) in context.hints.take()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("point", "images"),
    [
        (CrashPoint.INTAKE_WRITTEN, 20),
        (CrashPoint.INTAKE_GROWN, 40),
        (CrashPoint.INTAKE_ENDED, IMAGES),
    ],
)
def test_a_reader_that_is_killed_loses_nothing_and_repeats_nothing(
    database: Database, network: ChosenNetwork, files: tuple[Path, Path], point: CrashPoint, images: int
) -> None:
    program = (
        "import sys; from producer.images.origin import DataOrigin; from producer.intake import groups\n"
        "from producer.intake import find, read_on; from schema.database import Database\n"
        f"groups._GROUP_BYTES = {2 * SIZE * 64}\n"
        "origin = DataOrigin(sys.argv[3], 'images.npy', sys.argv[4])\n"
        "read_on.read_on(Database(sys.argv[1]), int(sys.argv[2]), find.source_of(origin))"
    )
    if database.url.get_backend_name() != "sqlite" and point is not CrashPoint.INTAKE_WRITTEN:
        pytest.skip("what is committed is the same on SQLite, whose test is enough")
    run = opened(database, network, source(*files))
    url = database.url.render_as_string(hide_password=False)
    command = [sys.executable, "-c", program, url, str(run), *map(str, files)]
    env = {**os.environ, "ANNEALQ_CRASH_AT": point}
    died = subprocess.run(command, cwd=ROOT, env=env, check=False, capture_output=True, text=True)
    assert died.returncode == -9, died.stderr
    assert row(database, run).images == images
    read_on(database, run, source(*files))
    assert row(database, run).intake is IntakeState.ENDED
    assert batches(database, run) == batches(database, at_once(database, network))


class Interrupted(NpyPieces):
    """Images of which some are read only after something has happened."""

    def __init__(self, path: Path, after: int, happens: Callable[[], None]) -> None:
        super().__init__(path)
        self._after, self._happens = after, happens

    def read(self, first: int = 0) -> Iterator[Piece]:
        for start in range(first, self.count, SIZE):
            if start >= self._after:
                self._happens()
            whole = next(super().read(start))
            yield Piece(0, whole.rows[:SIZE], whole.images[:SIZE], None, None)


def interrupted(files: tuple[Path, Path], after: int, happens: Callable[[], None]) -> LargeSource:
    return replace(source(*files), pieces=Interrupted(files[0], after, happens))


def test_of_two_readers_one_goes_on(
    database: Database, network: ChosenNetwork, files: tuple[Path, Path]
) -> None:
    run = opened(database, network, source(*files))

    def overtake() -> None:
        while row(database, run).images < 60:  # images are read while those before them are written
            time.sleep(0.01)
        read_on(database, run, source(*files))

    other = interrupted(files, 60, overtake)
    with pytest.raises(StaleState, match=f"run {run}: another process reads its images"):
        read_on(database, run, other)
    assert row(database, run).intake is IntakeState.ENDED
    assert batches(database, run) == batches(database, at_once(database, network))


def test_a_label_that_the_network_has_not_stops_the_reading_until_it_is_repaired(
    database: Database, network: ChosenNetwork, files: tuple[Path, Path]
) -> None:
    right = np.load(files[1], allow_pickle=False)
    wrong = right.copy()
    wrong[70] = 12
    np.save(files[1], wrong)
    run = opened(database, network, source(*files))
    again = f"read on by `annealq runs resume {run}`"
    with pytest.raises(ImageError, match=f"(?s)after 60 images: .*image 70 has label 12.*{again}"):
        read_on(database, run, source(*files))
    stopped = row(database, run)
    assert (stopped.images, stopped.batches, stopped.intake) == (60, 6, IntakeState.STOPPED)
    with database.reading() as session:
        shown = intake_of(session, run, database.now(session))
    assert shown is not None
    assert "image 70 has label 12" in shown.text
    assert again in shown.text
    np.save(files[1], right)
    read_on(database, run, source(*files))
    assert batches(database, run) == batches(database, at_once(database, network))


def test_a_source_whose_read_images_have_changed_is_refused_with_the_first_ones(
    database: Database, network: ChosenNetwork, files: tuple[Path, Path]
) -> None:
    run = opened(database, network, source(*files))
    images = np.load(files[0], allow_pickle=False)
    images[15, 0, 0] ^= 1
    np.save(files[0], images)
    os.utime(files[0], ns=(1, 1))
    with pytest.raises(ImageError, match=rf"written again; images 10 to 19 are others.*runs cancel {run}"):
        read_on(database, run, source(*files))
    assert row(database, run).images == 20
    np.save(files[0], images[:50])
    np.save(files[1], np.zeros(50, np.int64))
    with pytest.raises(ImageError, match=f"run {run} reads 95 images, and images.npy has 50"):
        read_on(database, run, source(*files))


def test_a_copy_of_the_source_may_be_read_on(
    database: Database, network: ChosenNetwork, files: tuple[Path, Path]
) -> None:
    run = opened(database, network, source(*files))
    os.utime(files[0], ns=(1, 1))
    read_on(database, run, source(*files))
    assert batches(database, run) == batches(database, at_once(database, network))


def test_a_file_that_ends_early_stops_the_reading(
    database: Database, network: ChosenNetwork, files: tuple[Path, Path]
) -> None:
    run, large = opened(database, network, source(*files)), source(*files)
    whole = files[0].read_bytes()
    files[0].write_bytes(whole[:-100])
    os.utime(files[0], ns=(1, 1))
    with pytest.raises(ImageError, match="ends in image 93"):
        read_on(database, run, large)
    assert row(database, run).intake is IntakeState.STOPPED
    files[0].write_bytes(whole)
    read_on(database, run, large)
    assert row(database, run).images == IMAGES


def test_the_same_key_is_the_same_run(
    database: Database, network: ChosenNetwork, files: tuple[Path, Path]
) -> None:
    run = opened(database, network, source(*files), "once")
    assert opened(database, network, source(*files), "once") == run
    read_on(database, run, source(*files))
    assert opened(database, network, source(*files), "once") == run
    read_on(database, run, source(*files))
    assert row(database, run).images == IMAGES
    other = RunOptions(batch_size=SIZE, key="once")
    with pytest.raises(IdempotencyConflict, match="other values of reads"):
        open_intake(database, source(*files), network, Solver.LOCAL, Parameters(reads=6), other)
    with pytest.raises(IdempotencyConflict, match="other values of images"):
        enqueue_run(database, some_images(IMAGES), network, Solver.LOCAL, PARAMETERS, other)
    limited = source(*files, limit=30)
    assert opened(database, network, limited, "once") == run
    with pytest.raises(ImageError, match=f"run {run} reads 95 images, and images.npy has 30 with --limit 30"):
        read_on(database, run, limited)


def test_a_run_that_is_cancelled_is_read_no_further(
    database: Database, network: ChosenNetwork, files: tuple[Path, Path]
) -> None:
    run = opened(database, network, source(*files))
    cancelled = interrupted(files, 60, lambda: _cancel_once(database, run))
    with pytest.raises(StaleState, match=f"run {run}: it is cancelled, so that no more images are read"):
        read_on(database, run, cancelled)
    with database.reading() as session:
        assert not is_open(session, run)
    with pytest.raises(ParameterError, match=f"run {run} is cancelled: no images can be added"):
        read_on(database, run, source(*files))


def _cancel_once(database: Database, run: int) -> None:
    control.cancel(database, run, again=True)


def test_a_run_past_its_deadline_does_not_wait_for_its_images(
    timed: Database, clock: Clock, context: Context, working: ChosenNetwork, files: tuple[Path, Path]
) -> None:
    late = RunHours(deadline_at=START + timedelta(hours=1))
    run = opened(timed, working, source(*files), hours=late)
    clock.forward(3_700)
    context = replace(context, database=timed)
    reconcile(timed, context.settings, context.hints)
    with pytest.raises(StaleState, match="its deadline has passed, so that no more images are read; 20 were"):
        read_on(timed, run, source(*files))
    work_off(context, *context.hints.take())  # type: ignore[attr-defined]
    assert row(timed, run).state is RunState.FAILED


def test_resume_reads_on_and_a_paused_run_stays_whole(
    database: Database, network: ChosenNetwork, files: tuple[Path, Path]
) -> None:
    run = opened(database, network, source(*files))
    control.pause(database, run)
    text = resume_run(AppContext(load(), database), run)
    assert text == f"run {run} has all of its 95 images: `annealq runs watch {run}`"
    assert row(database, run).state is RunState.QUEUED
    assert batches(database, run) == batches(database, at_once(database, network))
    files[0].unlink()
    other = opened_without_file(database, network, files)
    with pytest.raises(ImageError, match=r"images.npy does not exist.*restore it, or cancel the run"):
        resume_run(AppContext(load(), database), other)


def opened_without_file(database: Database, network: ChosenNetwork, files: tuple[Path, Path]) -> int:
    np.save(files[0], some_images(IMAGES).images)
    run = opened(database, network, source(*files))
    files[0].unlink()
    return run


def test_files_are_recognised_by_path_size_and_time(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    file = SourceFile.at(tmp_path / "a")
    assert SourceFile.from_dict(file.to_dict()) == file
