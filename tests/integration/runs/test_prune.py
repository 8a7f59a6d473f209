"""Raw reads that are removed on purpose: scores stay, the doctor knows, and nothing else may go."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select, update

from producer.doctor import relations
from producer.networks.chosen import ChosenNetwork
from producer.runs import prune, queries
from producer.runs.enqueue import RunOptions, enqueue_run
from producer.runs.rescore import enqueue_rescored
from schema.database import Database
from schema.errors import NotFound, ParameterError
from schema.messages import Message, Task
from schema.parameters import Parameters, Solver
from schema.states import RunState
from schema.tables import Run, SampleSet
from tests.integration.conftest import some_images, work_off
from worker.context import Context


def enqueue(context: Context, network: ChosenNetwork, seed: int = 0) -> int:
    """Enqueue a run of 25 images in 3 batches."""
    parameters, options = Parameters(reads=24, seed=seed), RunOptions(batch_size=10)
    return enqueue_run(context.database, some_images(25), network, Solver.LOCAL, parameters, options).id


def sample_sets(database: Database) -> int:
    with database.reading() as session:
        return session.execute(select(func.count()).select_from(SampleSet)).scalar_one()


def test_reads_go_and_all_else_stays(context: Context, working: ChosenNetwork) -> None:
    run, other = enqueue(context, working), enqueue(context, working, seed=1)
    work_off(context, Message(Task.DISPATCH))
    with context.database.reading() as session:
        before = list(queries.classified(session, run))
        size = session.execute(select(func.sum(func.length(SampleSet.data)))).scalar_one()
    would = prune.prune(context.database, run=run, dry_run=True)
    assert sample_sets(context.database) == 6
    gone = prune.prune(context.database, run=run)
    assert gone == would
    assert [(one.run_id, one.problems) for one in gone] == [(run, 3)]
    assert 0 < gone[0].bytes < size
    assert sample_sets(context.database) == 3
    with context.database.reading() as session:
        assert list(queries.classified(session, run)) == before
        assert list(relations.sample_sets(session)) == []
    assert prune.prune(context.database, run=run) == []
    with pytest.raises(ParameterError, match=r"no raw samples.*prune"):
        enqueue_rescored(context.database, run, {"fraction": 0.5})
    assert enqueue_rescored(context.database, other, {"fraction": 0.5}).created


def test_reads_that_are_lost_are_still_a_finding(context: Context, working: ChosenNetwork) -> None:
    enqueue(context, working)
    work_off(context, Message(Task.DISPATCH))
    with context.database.transaction() as session:
        session.delete(session.execute(select(SampleSet)).scalars().first())
    with context.database.reading() as session:
        assert len(list(relations.sample_sets(session))) == 1


def test_reads_that_somebody_needs_stay(context: Context, working: ChosenNetwork) -> None:
    run = enqueue(context, working)
    with pytest.raises(ParameterError, match="until it is finished"):
        prune.prune(context.database, run=run)
    work_off(context, Message(Task.DISPATCH))
    again = enqueue_rescored(context.database, run, {"fraction": 0.5}).id
    assert prune.prune(context.database, run=run) == []
    with context.database.transaction() as session:
        values = {"state": RunState.CANCELLED, "finished_at": context.database.now(session)}
        session.execute(update(Run).where(Run.id == again).values(values))
    assert [one.run_id for one in prune.prune(context.database, run=run)] == [run]


def test_only_runs_that_are_old_enough(context: Context, working: ChosenNetwork) -> None:
    run = enqueue(context, working)
    work_off(context, Message(Task.DISPATCH))
    assert prune.prune(context.database, older_than_days=1) == []
    assert [one.run_id for one in prune.prune(context.database, older_than_days=0)] == [run]


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ({}, ParameterError),
        ({"run": 1, "older_than_days": 1.0}, ParameterError),
        ({"older_than_days": -1.0}, ParameterError),
        ({"older_than_days": float("nan")}, ParameterError),
        ({"run": 7}, NotFound),
    ],
)
def test_what_makes_no_sense_is_refused(
    context: Context, asked: dict[str, float], error: type[Exception]
) -> None:
    with pytest.raises(error):
        prune.prune(context.database, **asked)  # type: ignore[arg-type]
