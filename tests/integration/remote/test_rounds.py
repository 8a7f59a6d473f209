"""Rounds of reads on qubits: packed densely, on other tiles, and never beyond a budget."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import select, update

from producer.networks.chosen import ChosenNetwork
from producer.progress.rounds import read_again, rounds_of
from producer.runs.enqueue import RunOptions, enqueue_run
from schema.codecs import arrays
from schema.database import Database
from schema.messages import Message, Task
from schema.parameters import Parameters, Round, Solver, Visible
from schema.settings import load as load_settings
from schema.settings.worker import WorkerSettings
from schema.states import ProblemState, RunState
from schema.tables import Batch, Classification, Problem, Run
from tests.emulators import TOKEN, Emulator
from tests.integration.conftest import Outbox, some_images, work_off, work_off_but
from worker.context import Context

IMAGES, TILES = 20, 4
FIRST, LATER = 5, 40
PARAMETERS = Parameters(
    reads=FIRST, rounds=(Round(LATER, 100.0, 0.3),), tiles=TILES, qpu="tiny", visible=Visible.FOLDED
)


@pytest.fixture(scope="module")
def server() -> Iterator[Emulator]:
    with Emulator("--solver=tiny=pegasus:6:6:10", f"--token={TOKEN}") as emulator:
        yield emulator


@pytest.fixture
def context(database: Database, outbox: Outbox, server: Emulator) -> Iterator[Context]:
    made = Context(database, WorkerSettings(retry_base_s=0.01, quarantine_s=0.2), outbox)
    made.solvers.shared = load_settings(emulator_url=server.endpoint, emulator_token=TOKEN)
    yield made
    made.solvers.disconnect(Solver.EMULATOR, PARAMETERS)


def first_round(context: Context, network: ChosenNetwork) -> tuple[int, list[Message]]:
    """A run of 20 images whose first round is read, and the hint for what follows."""
    options = RunOptions(batch_size=12)
    run = enqueue_run(context.database, some_images(IMAGES), network, Solver.EMULATOR, PARAMETERS, options).id
    return run, work_off_but(context, Task.AGGREGATE_RUN, Message(Task.DISPATCH))


def tiles_of(context: Context, run: int) -> dict[int, dict[int, int]]:
    """The tile of each image in each round."""
    found: dict[int, dict[int, int]] = {}
    with context.database.reading() as session:
        query = select(Problem, Batch).join(Batch, Batch.id == Problem.batch_id).where(Batch.run_id == run)
        for problem, batch in session.execute(query.where(Problem.state == ProblemState.ANSWERED)):
            numbers = arrays.image_numbers(batch.first_image, batch.count, batch.members)
            for place in range(problem.count):
                image = numbers[problem.first_image + place]
                found.setdefault(batch.round, {})[image] = (problem.first_tile + place) % TILES
    return found


def test_images_are_packed_into_full_problems_on_other_tiles(
    context: Context, working: ChosenNetwork
) -> None:
    run, hints = first_round(context, working)
    work_off(context, *hints)
    tiles = tiles_of(context, run)
    assert sorted(tiles) == [1, 2]
    # 30 % are 6 images; the second problem is filled up.
    assert len(tiles[2]) == 8
    assert all(tiles[1][image] != tile for image, tile in tiles[2].items())
    with context.database.reading() as session:
        state = session.execute(select(Run.state).where(Run.id == run)).scalar_one()
        reads = dict(session.execute(select(Classification.image, Classification.reads)).all())
        used = rounds_of(session, run)
        again = read_again(session, run, used)
    assert state is RunState.DONE
    assert {image for image, count in reads.items() if count == FIRST + LATER} == set(tiles[2])
    assert [one.problems for one in used] == [5, 2]
    assert again is not None
    assert again.qpu_time_us == used[1].qpu_time_us > 0
    assert again.saved_us is not None


@pytest.mark.parametrize(("problems", "images"), [(0.5, 0), (1.5, TILES)])
def test_a_round_takes_no_more_than_is_left_of_a_budget(
    context: Context, working: ChosenNetwork, problems: float, images: int
) -> None:
    run, hints = first_round(context, working)
    with context.database.transaction() as session:
        spent_us = rounds_of(session, run)[0].qpu_time_us
        timing = session.execute(
            select(Problem.timing).where(Problem.timing.is_not(None)).order_by(Problem.id).limit(1)
        ).scalar_one()
        per_read_us = (timing["qpu_access_time"] - timing["qpu_programming_time"]) / FIRST
        one_us = timing["qpu_programming_time"] + LATER * per_read_us
        left = {"budget_us": round(spent_us + problems * one_us)}
        session.execute(update(Run).where(Run.id == run).values(**left))
    work_off(context, *hints)
    with context.database.reading() as session:
        state, paused = session.execute(select(Run.state, Run.paused_by).where(Run.id == run)).one()
        used = rounds_of(session, run)
        again = read_again(session, run, used)
    assert (state, paused) == (RunState.DONE, None)
    assert sum(one.images for one in used[1:]) == images
    assert again is not None
    text = "round 2 begins: " if images else "round 2 is left out: what is left of a budget does not pay"
    assert again.notes[-1].startswith(text)


def test_a_budget_that_shrinks_ends_a_round_and_does_not_pause_the_run(
    context: Context, working: ChosenNetwork
) -> None:
    run, hints = first_round(context, working)
    sampled = work_off_but(context, Task.SAMPLE_BATCH, *hints)
    with context.database.transaction() as session:
        left = {"budget_us": round(rounds_of(session, run)[0].qpu_time_us + 1)}
        session.execute(update(Run).where(Run.id == run).values(**left))
    work_off(context, *sampled)
    with context.database.reading() as session:
        state, round_ = session.execute(select(Run.state, Run.round).where(Run.id == run)).one()
        reads = set(session.execute(select(Classification.reads)).scalars())
        used = rounds_of(session, run)
    assert (state, round_, reads) == (RunState.DONE, 2, {FIRST})
    assert [one.problems for one in used] == [5, 0]
