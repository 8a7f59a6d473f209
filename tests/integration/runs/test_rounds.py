"""Rounds of reads on an annealer of this process: uncertain images are read again, and all reads count."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyarrow import csv, parquet
from sqlalchemy import select, update

from producer.doctor import checksums, counters, relations
from producer.networks.chosen import ChosenNetwork
from producer.progress.rounds import read_again, rounds_of
from producer.progress.stages import ImageProgress, progress_of
from producer.runs import control
from producer.runs.enqueue import RunOptions, enqueue_run
from producer.runs.rescore import enqueue_rescored, hinted_batches
from schema.codecs import arrays
from schema.database import Database
from schema.errors import ParameterError
from schema.messages import Message, Task
from schema.parameters import Parameters, Round, Solver
from schema.shapes import ImageShape
from schema.states import BatchState, RunState
from schema.tables import Batch, BatchImages, Classification, Event, Run
from tests.integration.conftest import Cli, Outbox, some_images, work_off, work_off_but
from worker import reconcile
from worker.context import Context
from worker.pipeline.finish_run import finish_run
from worker.pipeline.sample_batch import sample_batch
from worker.tasks import sample_and_score

IMAGES = 25
ROUNDS = (Round(30, 5.0, 0.4), Round(60, 2.0, 0.2))


def enqueue(context: Context, network: ChosenNetwork, **parameters: object) -> int:
    """Enqueue 25 images in 3 batches."""
    chosen = Parameters(**{"reads": 4, "rounds": ROUNDS, "sweeps": 3, **parameters})
    options = RunOptions(batch_size=10)
    return enqueue_run(context.database, some_images(IMAGES), network, Solver.LOCAL, chosen, options).id


def classify(context: Context, network: ChosenNetwork, **parameters: object) -> int:
    run = enqueue(context, network, **parameters)
    work_off(context, Message(Task.DISPATCH))
    return run


def row(database: Database, run: int) -> Run:
    with database.reading() as session:
        found = session.get_one(Run, run)
        session.expunge(found)
        return found


def rows(database: Database, run: int) -> dict[int, Classification]:
    with database.reading() as session:
        query = select(Classification).where(Classification.run_id == run)
        found = list(session.execute(query).scalars())
        session.expunge_all()
        return {each.image: each for each in found}


def values(found: dict[int, Classification]) -> list[tuple[object, ...]]:
    names = [column.name for column in Classification.__table__.columns if column.name != "run_id"]
    return [tuple(getattr(found[image], name) for name in names) for image in sorted(found)]


def members(database: Database, run: int) -> dict[int, list[int]]:
    """The images of each later round."""
    with database.reading() as session:
        query = select(Batch.round, Batch.members, Batch.count).where(Batch.run_id == run, Batch.round > 1)
        found: dict[int, list[int]] = {}
        for number, data, count in session.execute(query.order_by(Batch.ordinal)):
            found.setdefault(number, []).extend(arrays.decode_members(data, count).tolist())
        return found


def events(database: Database, run: int) -> list[str]:
    with database.reading() as session:
        query = select(Event.why).where(Event.subject == "runs", Event.row == run, Event.why.is_not(None))
        return list(session.execute(query.order_by(Event.id)).scalars())


def test_results_that_a_later_round_may_change_are_marked_wherever_they_are_shown(
    context: Context, working: ChosenNetwork, cli: Cli, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = enqueue(context, working)
    hints = work_off_but(context, Task.AGGREGATE_RUN, Message(Task.DISPATCH))
    paths = [tmp_path / f"early.{kind}" for kind in ("csv", "json", "parquet")]

    def exported() -> list[set[object]]:
        capsys.readouterr()
        for path in paths:
            cli("runs", "export", run, "--output", path)
        tables = (csv.read_csv(paths[0]), json.loads(paths[1].read_text()), parquet.read_table(paths[2]))
        return [{row["provisional"] for row in rows_of(table)} for table in tables]

    def rows_of(table: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = table if isinstance(table, list) else table.to_pylist()
        assert len(found) == IMAGES
        return found

    assert exported() == [{True}, {True}, {True}]
    about = json.loads((parquet.read_schema(paths[2]).metadata or {})[b"annealq"])
    assert (about["state"], about["provisional"]) == ("running", True)
    shown = cli("runs", "show", run)
    assert "provisional: a later round of reads may change them" in shown
    assert "(provisional, " in shown
    assert "provisional" in cli("runs", "compare", run, run)
    assert json.loads(cli("runs", "list", "--json"))[0]["provisional"] is True
    work_off(context, *hints)
    assert exported() == [{False}, {False}, {False}]
    assert "provisional" not in cli("runs", "show", run) + cli("runs", "compare", run, run)


def test_uncertain_images_are_read_again_and_all_reads_count(
    context: Context, working: ChosenNetwork
) -> None:
    alone = rows(context.database, classify(context, working, rounds=None))
    run = classify(context, working)
    again = members(context.database, run)
    found, finished = rows(context.database, run), row(context.database, run)
    assert (finished.state, finished.round, finished.images) == (RunState.DONE, 3, IMAGES)
    assert sorted(again) == [2, 3]
    assert (len(again[2]), len(again[3])) == (10, 5)
    assert sorted(found) == list(range(IMAGES))
    for image, each in found.items():
        rounds = [number for number in again if image in again[number]]
        assert each.reads == 4 + sum(ROUNDS[number - 2].reads for number in rounds)
        assert (each.earlier_predicted is None) == (not rounds)
        assert each.label == alone[image].label
        if not rounds:
            assert each.lowest_energy == pytest.approx(alone[image].lowest_energy)
            assert each.predicted == alone[image].predicted
        else:  # more reads only find lower energies
            assert each.lowest_energy <= alone[image].lowest_energy + 1e-5
        if rounds == [2]:
            before = -1 if alone[image].predicted is None else alone[image].predicted
            assert each.earlier_predicted == before
    gaps = {k: -np.inf if each.predicted is None else each.energy_gap for k, each in alone.items()}
    assert again[2] == sorted(gaps, key=lambda image: (gaps[image], image))[:10]
    with context.database.reading() as session:
        used = rounds_of(session, run)
        told = read_again(session, run, used)
        findings = [*counters.run_counts(session), *counters.batch_gaps(session), *relations.rounds(session)]
        findings += [*counters.classifications(session), *relations.coverage(session)]
    findings += checksums.checksums(context.database, lambda _: None)
    assert findings == []
    assert [(one.round, one.images, one.finished, one.reads) for one in used] == [
        (1, 25, 25, 4),
        (2, 10, 10, 30),
        (3, 5, 5, 60),
    ]
    changed = [
        each
        for each in found.values()
        if each.earlier_predicted is not None
        and each.earlier_predicted != (-1 if each.predicted is None else each.predicted)
    ]
    assert told is not None
    assert (told.images, told.changed, told.saved_us) == (len({*again[2], *again[3]}), len(changed), None)
    assert told.to_right == sum(each.predicted == each.label for each in changed)
    assert finished.statistics is not None
    assert finished.statistics["images"] == IMAGES
    texts = [why for why in events(context.database, run) if why.startswith("round")]
    assert texts[0].startswith("round 2 begins: 10 images of 25 read 30 more times; ")
    assert texts[1].startswith("round 3 begins: 5 images of 25 read 60 more times; ")


def test_batches_of_a_later_round_have_their_own_pixels_and_labels(
    context: Context, working: ChosenNetwork
) -> None:
    run = classify(context, working)
    images = some_images(IMAGES)
    with context.database.reading() as session:
        query = select(Batch, BatchImages).join(BatchImages, BatchImages.batch_id == Batch.id)
        found = session.execute(query.where(Batch.run_id == run).order_by(Batch.ordinal)).all()
        first = 0
        for batch, stored in found:
            assert batch.first_image == first
            first += batch.count
            numbers = list(arrays.image_numbers(batch.first_image, batch.count, batch.members))
            shape = ImageShape.parse(batch.shape, batch.dtype)
            pixels = arrays.decode_images(
                stored.images, batch.count, shape, stored.images_sha256, stored.labels
            )
            np.testing.assert_array_equal(pixels, images.images[numbers])
            labels = arrays.decode_labels(stored.labels, batch.count)
            np.testing.assert_array_equal(labels, images.labels[numbers])
            assert batch.reads == (None if batch.round == 1 else ROUNDS[batch.round - 2].reads)
        assert [batch.ordinal for batch, _ in found] == list(range(len(found)))


@pytest.mark.parametrize("backwards", [False, True])
def test_scoring_again_gives_the_same_in_any_order(
    context: Context, working: ChosenNetwork, *, backwards: bool
) -> None:
    run = classify(context, working)
    again = enqueue_rescored(context.database, run, {}).id
    with context.database.reading() as session:
        hinted = hinted_batches(session, again)
    work_off(context, *(Message(Task.AGGREGATE_BATCH, batch) for batch in hinted[:: -1 if backwards else 1]))
    assert row(context.database, again).state is RunState.DONE
    assert row(context.database, again).images == IMAGES
    assert values(rows(context.database, again)) == values(rows(context.database, run))


def test_the_first_reads_alone_are_those_of_the_first_round(context: Context, working: ChosenNetwork) -> None:
    run = classify(context, working)
    again = enqueue_rescored(context.database, run, {"reads": 4}).id
    with context.database.reading() as session:
        hinted = hinted_batches(session, again)
    work_off(context, *(Message(Task.AGGREGATE_BATCH, batch) for batch in hinted))
    alone = rows(context.database, classify(context, working, rounds=None))
    assert values(rows(context.database, again)) == values(alone)
    assert row(context.database, again).parameters.get("rounds") is None


def scored_again(context: Context, run: int, reads: int) -> int:
    again = enqueue_rescored(context.database, run, {"reads": reads}).id
    with context.database.reading() as session:
        hinted = hinted_batches(session, again)
    work_off(context, *(Message(Task.AGGREGATE_BATCH, batch) for batch in hinted))
    assert row(context.database, again).state is RunState.DONE
    return again


@pytest.mark.parametrize(
    ("reads", "rounds"),
    [(20, [[16, 5.0, 0.4]]), (34, [[30, 5.0, 0.4]]), (50, [[30, 5.0, 0.4], [16, 2.0, 0.2]])],
)
def test_the_first_reads_of_an_image_may_end_in_a_later_round(
    context: Context, working: ChosenNetwork, reads: int, rounds: list[list[float]]
) -> None:
    run = classify(context, working)
    again = scored_again(context, run, reads)
    assert row(context.database, again).parameters["rounds"] == rounds
    before, found = rows(context.database, run), rows(context.database, again)
    assert {image: each.reads for image, each in found.items()} == {
        image: min(each.reads, reads) for image, each in before.items()
    }
    # More reads only find lower energies; features of another batch may differ in the last bit of a float32.
    alone = rows(context.database, scored_again(context, run, 4))
    for image, each in found.items():
        low, high = before[image].lowest_energy, alone[image].lowest_energy
        assert low - 1e-5 <= each.lowest_energy <= high + 1e-5
    with context.database.reading() as session:
        assert [(one.round, one.reads) for one in rounds_of(session, again)] == [
            (1, 4), *((number, own[0]) for number, own in enumerate(rounds, start=2))
        ]  # fmt: skip
        assert [*counters.run_counts(session), *relations.rounds(session)] == []
    # A run that scored fewer reads can be scored with more again.
    assert values(rows(context.database, scored_again(context, again, 94))) == values(before)


def test_no_more_reads_can_be_scored_than_all_rounds_have(context: Context, working: ChosenNetwork) -> None:
    run = classify(context, working)
    with pytest.raises(ParameterError, match="has 94 stored reads per image, fewer than 95: choose fewer"):
        enqueue_rescored(context.database, run, {"reads": 95})


def test_no_round_begins_where_every_image_is_certain(context: Context, working: ChosenNetwork) -> None:
    run = enqueue(context, working)
    (end,) = first_round(context)
    with context.database.transaction() as session:
        session.execute(update(Classification).values(predicted=1, status="decided", energy_gap=5.0))
    work_off(context, end)
    assert (row(context.database, run).state, row(context.database, run).round) == (RunState.DONE, 1)
    assert "round 2 is left out: all images have a class and an energy gap of 5 or more" in events(
        context.database, run
    )


def test_the_time_left_counts_rounds_to_come_by_the_images_classified_so_far(
    context: Context, working: ChosenNetwork
) -> None:
    run = enqueue(context, working)
    (end,) = first_round(context)
    with context.database.reading() as session:
        images = rows(context.database, run).values()
        counts = [sum(one.predicted is None or one.energy_gap < gap for one in images) for gap in (5.0, 2.0)]
        # Without a calibration no prices are known: reads count.
        expected = min(counts[0], 10) * 30 / 4 + min(counts[1], 5) * 60 / 4
        assert progress_of(session, run, context.database.now(session)).to_come == pytest.approx(expected)
    work_off(context, end)
    with context.database.reading() as session:
        assert progress_of(session, run, context.database.now(session)).to_come == 0.0


def test_a_paused_run_begins_its_round_when_it_is_resumed(
    context: Context, working: ChosenNetwork, outbox: Outbox
) -> None:
    run = enqueue(context, working)
    messages = first_round(context)
    control.pause(context.database, run)
    work_off(context, *messages)
    assert (row(context.database, run).state, row(context.database, run).round) == (RunState.PAUSED, 1)
    reconcile.reconcile(context.database, context.settings, outbox)
    assert outbox.take() == []
    control.resume(context.database, run)
    reconcile.reconcile(context.database, context.settings, outbox)
    work_off(context, *outbox.take())
    assert (row(context.database, run).state, row(context.database, run).round) == (RunState.DONE, 3)


def first_round(context: Context) -> list[Message]:
    """Do all of the first round but for the end of its run; return the hint for that."""
    return work_off_but(context, Task.AGGREGATE_RUN, Message(Task.DISPATCH))


def begun(context: Context, network: ChosenNetwork) -> tuple[int, list[int]]:
    """A run whose second round has begun; and its pending batches."""
    run = enqueue(context, network)
    (end,) = first_round(context)
    finish_run(context, end.row)
    assert isinstance(context.hints, Outbox)
    context.hints.take()
    with context.database.reading() as session:
        query = select(Batch.id).where(Batch.run_id == run, Batch.state == BatchState.PENDING)
        return run, list(session.execute(query).scalars())


def pause(context: Context, run: int) -> None:
    control.pause(context.database, run)


def cancel(context: Context, run: int) -> None:
    control.cancel(context.database, run)


@pytest.mark.parametrize(("halt", "state"), [(pause, RunState.PAUSED), (cancel, RunState.CANCELLED)])
def test_a_run_that_is_halted_in_a_later_round_has_the_results_of_the_first(
    context: Context, working: ChosenNetwork, halt: Callable[[Context, int], None], state: RunState
) -> None:
    run, pending = begun(context, working)
    halt(context, run)
    work_off(context, *(Message(Task.SAMPLE_BATCH, batch) for batch in pending))
    found = row(context.database, run)
    assert (found.state, found.round) == (state, 2)
    assert {each.reads for each in rows(context.database, run).values()} == {4}
    assert len(rows(context.database, run)) == IMAGES
    if state is RunState.PAUSED:
        control.resume(context.database, run)
        work_off(context, *(Message(Task.SAMPLE_BATCH, batch) for batch in pending))
        assert row(context.database, run).round == 3
        assert row(context.database, run).state is RunState.DONE


def test_a_later_round_that_fails_leaves_the_results_and_is_sent_again(
    context: Context, working: ChosenNetwork
) -> None:
    run, pending = begun(context, working)
    before = values(rows(context.database, run))
    with context.database.transaction() as session:
        damaged = session.get_one(BatchImages, pending[0])
        damaged.images_sha256 = "0" * 64
    work_off(context, *(Message(Task.SAMPLE_BATCH, batch) for batch in pending[:1]))
    work_off(context, Message(Task.DISPATCH))
    found = row(context.database, run)
    assert found.state is RunState.FAILED
    assert "of its batches failed" in str(found.error)
    after = rows(context.database, run)
    lost = members_of(context.database, pending[0])
    names = {image: values({image: each})[0] for image, each in after.items()}
    assert all(names[image] == before[image] for image in lost if after[image].reads == 4)
    with context.database.transaction() as session:
        stored = session.get_one(BatchImages, pending[0])
        stored.images_sha256 = arrays.batch_checksum(stored.images, ImageShape.image(8, 8), stored.labels)
    control.resume(context.database, run)
    work_off(context, Message(Task.DISPATCH))
    assert row(context.database, run).state is RunState.DONE
    assert all((rows(context.database, run)[image].reads or 0) >= 34 for image in lost)


def members_of(database: Database, batch: int) -> list[int]:
    with database.reading() as session:
        found = session.get_one(Batch, batch)
        return list(arrays.image_numbers(found.first_image, found.count, found.members))


def damage(context: Context, batch: int, *, repaired: bool = False) -> None:
    with context.database.transaction() as session:
        stored = session.get_one(BatchImages, batch)
        checksum = arrays.batch_checksum(stored.images, ImageShape.image(8, 8), stored.labels)
        stored.images_sha256 = checksum if repaired else "0" * 64


@pytest.mark.parametrize("rounds", [(Round(30, 100.0, 0.4),), ROUNDS])
def test_batches_that_are_resumed_later_get_the_rounds_that_they_missed(
    context: Context, working: ChosenNetwork, rounds: tuple[Round, ...]
) -> None:
    run = enqueue(context, working, rounds=rounds)
    with context.database.reading() as session:
        late = session.execute(select(Batch.id).where(Batch.run_id == run, Batch.ordinal == 1)).scalar_one()
    damage(context, late)
    work_off(context, Message(Task.DISPATCH))
    assert row(context.database, run).state is RunState.FAILED
    before = members(context.database, run)
    assert len(before[2]) == 10
    assert not set(before[2]) & set(range(10, 20))
    # The share of the run is not yet used up.
    with context.database.transaction() as session:
        more = [[each.reads, each.gap, each.share + 0.2] for each in rounds]
        parameters = session.get_one(Run, run).parameters | {"rounds": more}
        session.execute(update(Run).where(Run.id == run).values(parameters=parameters))
    damage(context, late, repaired=True)
    control.resume(context.database, run)
    work_off(context, Message(Task.DISPATCH))
    found, after = row(context.database, run), members(context.database, run)
    assert (found.state, found.round) == (RunState.DONE, 1 + len(rounds))
    for number in after:
        new = after[number][len(before[number]) :]
        assert after[number][: len(before[number])] == before[number]
        assert len(new) == 5
        assert set(new) < set(range(10, 20))
        texts = [why for why in events(context.database, run) if why.startswith(f"round {number} continues")]
        assert len(texts) == 1
        assert texts[0].startswith(f"round {number} continues for images of resumed batches: 5 images of 25")
    read = {image: each.reads for image, each in rows(context.database, run).items()}
    for image in range(IMAGES):
        own = [each.reads for number, each in enumerate(rounds, start=2) if image in after[number]]
        assert read[image] == 4 + sum(own)
    with context.database.reading() as session:
        findings = [*counters.run_counts(session), *relations.rounds(session)]
        findings += [*counters.classifications(session), *relations.coverage(session)]
    assert findings == []


def late_batch(context: Context, network: ChosenNetwork) -> tuple[int, int]:
    """Return a run whose second and last round has ended, and its second batch, which is resumed and due."""
    run = enqueue(context, network, rounds=(Round(30, 100.0, 0.6),))
    with context.database.reading() as session:
        late = session.execute(select(Batch.id).where(Batch.run_id == run, Batch.ordinal == 1)).scalar_one()
    damage(context, late)
    work_off(context, Message(Task.DISPATCH))
    with context.database.transaction() as session:  # what it has read is not its share yet
        parameters = session.get_one(Run, run).parameters | {"rounds": [[30, 100.0, 0.9]]}
        session.execute(update(Run).where(Run.id == run).values(parameters=parameters))
    damage(context, late, repaired=True)
    control.resume(context.database, run)
    return run, late


def test_progress_is_that_of_the_resumed_batches_of_an_earlier_round(
    context: Context, working: ChosenNetwork
) -> None:
    run, late = late_batch(context, working)

    def progress(seconds: float = 0.0) -> ImageProgress:
        with context.database.reading() as session:
            return progress_of(session, run, context.database.now(session) + timedelta(seconds=seconds))

    found = progress(10.0)
    assert (found.round, found.again, found.sampled, found.failed) == (1, 0, 15, 0)
    assert "no worker has taken its batches" in str(found.waits)
    assert found.left_s(datetime.now(UTC)) is None
    sample_batch(context, late)
    found = progress()
    assert (found.round, found.sampled, found.scored) == (1, 25, 15)
    work_off(context, Message(Task.AGGREGATE_BATCH, late))
    found = progress()
    assert (found.round, found.state, found.again) == (2, RunState.DONE, 22)


def test_a_paused_run_with_late_images_gets_no_hints_until_it_is_resumed(
    context: Context, working: ChosenNetwork
) -> None:
    run, late = late_batch(context, working)
    outbox = context.hints
    assert isinstance(outbox, Outbox)
    sample_and_score(context, late)
    ends = outbox.take()
    control.pause(context.database, run)
    work_off(context, *ends)
    assert row(context.database, run).state is RunState.PAUSED
    with context.database.transaction() as session:  # as if their hint had been lost long ago
        session.execute(update(Run).where(Run.id == run).values(dispatched_at=None))
    reconcile.reconcile(context.database, context.settings, outbox)
    assert Message(Task.AGGREGATE_RUN, run) not in outbox.take()
    control.resume(context.database, run)
    reconcile.reconcile(context.database, context.settings, outbox)
    again = outbox.take()
    assert Message(Task.AGGREGATE_RUN, run) in again
    work_off(context, *again)
    assert row(context.database, run).state is RunState.DONE
    assert set(members(context.database, run)[2]) & set(range(10, 20))


def test_resumed_batches_are_not_read_again_where_the_share_is_used_up(
    context: Context, working: ChosenNetwork
) -> None:
    run = enqueue(context, working, rounds=(Round(30, 100.0, 0.4),))
    with context.database.reading() as session:
        late = session.execute(select(Batch.id).where(Batch.run_id == run, Batch.ordinal == 1)).scalar_one()
    damage(context, late)
    work_off(context, Message(Task.DISPATCH))
    damage(context, late, repaired=True)
    control.resume(context.database, run)
    work_off(context, Message(Task.DISPATCH))
    assert row(context.database, run).state is RunState.DONE
    assert len(members(context.database, run)[2]) == 10
    assert len(rows(context.database, run)) == IMAGES


def test_no_round_begins_after_the_deadline(context: Context, working: ChosenNetwork) -> None:
    run = enqueue(context, working)
    (end,) = first_round(context)
    with context.database.transaction() as session:
        past = context.database.now(session) - timedelta(seconds=1)
        session.execute(update(Run).where(Run.id == run).values(deadline_at=past))
    work_off(context, end)
    assert (row(context.database, run).state, row(context.database, run).round) == (RunState.DONE, 1)
    assert "round 2 is left out: the deadline of the run has passed" in events(context.database, run)
