"""Raw samples scored again: another rule, fewer reads, no solver time, and nothing stored twice."""

from __future__ import annotations

import numpy as np
import pytest
from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import Session

from producer.networks.chosen import ChosenNetwork
from producer.runs import queries
from producer.runs.enqueue import RunOptions, enqueue_run
from producer.runs.rescore import enqueue_rescored, hinted_batches
from schema.codecs import arrays, samples
from schema.database import Database
from schema.errors import Corrupt, NetworkError, NotFound, ParameterError
from schema.messages import Message, Task
from schema.parameters import Parameters, Rule, Solver
from schema.states import BatchState, NetworkState, RunState
from schema.tables import Batch, Network, Problem, Run, SampleSet
from tests.integration.conftest import Outbox, network_row, some_images, work_off
from worker import reconcile
from worker.compute import scoring
from worker.context import Context
from worker.records import batches

READS = 24


def classify(context: Context, network: ChosenNetwork, **parameters: object) -> int:
    """Finish a run of 25 images in 3 batches."""
    images, chosen = some_images(25), Parameters(**{"reads": READS, **parameters})
    run = enqueue_run(context.database, images, network, Solver.LOCAL, chosen, RunOptions(batch_size=10))
    work_off(context, Message(Task.DISPATCH))
    return run.id


def rescore(context: Context, run: int, **changes: object) -> int:
    again = enqueue_rescored(context.database, run, changes).id
    with context.database.reading() as session:
        messages = [Message(Task.AGGREGATE_BATCH, batch) for batch in hinted_batches(session, again)]
    work_off(context, *messages)
    return again


def results(database: Database, run: int) -> list[queries.Classified]:
    with database.reading() as session:
        return list(queries.classified(session, run))


def stored(session: Session) -> tuple[int, int]:
    problems, sets = select(func.count()).select_from(Problem), select(func.count()).select_from(SampleSet)
    return session.execute(problems).scalar_one(), session.execute(sets).scalar_one()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"rule": Rule.ALL_READS_MEAN},
        {"rule": Rule.BOLTZMANN, "beta": 0.25},
        {"fraction": 0.5},
    ],
)
def test_scoring_again_is_what_sampling_again_would_have_given(
    context: Context, working: ChosenNetwork, changes: dict[str, object]
) -> None:
    first = classify(context, working)
    with context.database.reading() as session:
        kept = stored(session)
    again = rescore(context, first, **changes)
    with context.database.reading() as session:
        assert stored(session) == kept
        run = queries.run(session, again)
        drawn = queries.run(session, first)
    assert (run.state, run.rescored_from, run.images, run.labelled) == (RunState.DONE, first, 25, True)
    assert drawn.statistics is not None
    assert drawn.statistics["sampling_seconds"] > 0
    assert run.statistics is not None
    for figure in ("sampling_seconds", "qpu_access_time_us", "problems_sent"):
        assert run.statistics[figure] == 0
    assert results(context.database, again) == results(
        context.database, classify(context, working, **changes)
    )


def test_other_rules_and_betas_are_told_apart(context: Context, working: ChosenNetwork) -> None:
    run = classify(context, working)
    choices = [{"rule": Rule.BOLTZMANN, "beta": beta} for beta in (0.1, 1.0)]
    scores = [
        b"".join(image.scores for image in results(context.database, rescore(context, run, **choice)))
        for choice in ({}, {"rule": Rule.ALL_READS_MEAN}, *choices)
    ]
    assert len(set(scores)) == 4


def test_fewer_reads_are_the_first_ones(context: Context, working: ChosenNetwork) -> None:
    run = classify(context, working)
    again = rescore(context, run, reads=7, rule=Rule.ALL_READS_MEAN)
    with context.database.reading() as session:
        rows = session.execute(
            select(SampleSet.data)
            .join(Problem)
            .join(Batch)
            .where(Batch.run_id == run)
            .order_by(Batch.ordinal)
        ).scalars()
        bits = np.concatenate([samples.decode(data).bits for data in rows])
    expected = bits[:, :7, -10:].mean(axis=1)
    found = arrays.decode_scores([image.scores for image in results(context.database, again)], classes=10)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_scoring_a_rescored_run_goes_back_to_the_samples(context: Context, working: ChosenNetwork) -> None:
    first = classify(context, working)
    few = rescore(context, first, reads=5, rule=Rule.ALL_READS_MEAN)
    all_again = rescore(context, few, reads=READS)
    with context.database.reading() as session:
        run = queries.run(session, all_again)
    assert run.rescored_from == first
    assert Parameters.from_dict(run.parameters) == Parameters(reads=READS, rule=Rule.ALL_READS_MEAN)
    assert results(context.database, all_again) == results(
        context.database, rescore(context, first, rule=Rule.ALL_READS_MEAN)
    )


def test_a_batch_that_failed_is_left_out_and_the_others_keep_their_places(
    context: Context, working: ChosenNetwork
) -> None:
    run = classify(context, working)
    with context.database.transaction() as session:
        middle = (Batch.run_id == run) & (Batch.ordinal == 1)
        lost = {"state": BatchState.FAILED, "error": "lost", "scored_at": None}
        session.execute(update(Batch).where(middle).values(lost))
    again = rescore(context, run)
    first = results(context.database, run)
    assert results(context.database, again) == first[:10] + first[20:]
    with context.database.reading() as session:
        assert queries.run(session, again).images == 15


def test_the_reconciler_finds_it_when_every_hint_is_lost(
    context: Context, working: ChosenNetwork, outbox: Outbox
) -> None:
    run = classify(context, working)
    again = enqueue_rescored(context.database, run, {}).id
    with context.database.transaction() as session:
        session.execute(update(Batch).values(dispatched_at=None))
    reconcile.reconcile(context.database, context.settings, outbox)
    work_off(context, *outbox.take())
    with context.database.reading() as session:
        assert queries.run(session, again).state is RunState.DONE


def test_what_cannot_be_scored_again_is_said_and_leaves_nothing(
    context: Context, working: ChosenNetwork
) -> None:
    database = context.database
    run = classify(context, working)
    waiting = enqueue_run(database, some_images(5), working, Solver.LOCAL, Parameters()).id
    with database.transaction() as session:
        gone = {"state": NetworkState.FAILED, "error": "x", "version": 2, "content_sha256": "1" * 64}
        lost = session.execute(insert(Network).values({**network_row(), **gone}).returning(Network.id))
        row = session.execute(select(Run.__table__).where(Run.id == run)).one()._asdict()
        del row["id"]
        empty = session.execute(insert(Run).values(row).returning(Run.id)).scalar_one()
        row["network_id"] = lost.scalar_one()
        orphan = session.execute(insert(Run).values(row).returning(Run.id)).scalar_one()
    cases: list[tuple[int, dict[str, object], type[Exception], str]] = [
        (99, {}, NotFound, "no run 99.*runs list"),
        (waiting, {}, ParameterError, "is queued.*runs watch"),
        (empty, {}, ParameterError, "no batch was scored"),
        (run, {"reads": READS + 1}, ParameterError, "has 24 stored reads.*25.*more reads"),
        (run, {"fraction": 0.0}, ParameterError, "fraction is 0.0"),
        (orphan, {}, NetworkError, "digits@2, which is failed"),
    ]
    with database.reading() as session:
        before = session.execute(select(func.count()).select_from(Run)).scalar_one()
    for number, changes, error, message in cases:
        with pytest.raises(error, match=message):
            enqueue_rescored(database, number, changes)
    with database.reading() as session:
        assert session.execute(select(func.count()).select_from(Run)).scalar_one() == before


def test_a_batch_without_enough_reads_is_not_scored_with_fewer(
    context: Context, working: ChosenNetwork
) -> None:
    run = classify(context, working)
    again = enqueue_rescored(context.database, run, {}).id
    with context.database.transaction() as session:
        session.execute(update(Run).where(Run.id == again).values(parameters=Parameters(reads=99).to_dict()))
        work = batches.load(session, hinted_batches(session, again)[0])
        data = batches.load_samples(session, work.batch)
        network = context.networks.get(session, working.id)

    with pytest.raises(Corrupt, match=r"24 reads.*99"):
        scoring.score(network, work, data)
