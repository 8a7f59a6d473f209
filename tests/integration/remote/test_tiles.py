"""Images that are sent again lie on other tiles, and their reads are read from these.

Spins that a gauge reverses are stored as if they were not.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
from sqlalchemy import func, select

from producer.networks.chosen import ChosenNetwork
from producer.runs.enqueue import RunOptions, enqueue_run
from schema.codecs import samples, tiling
from schema.database import Database
from schema.messages import Message, Task
from schema.parameters import Gauge, Parameters, Solver, Visible
from schema.settings import load as load_settings
from schema.settings.worker import WorkerSettings
from schema.states import ProblemState, RunState
from schema.tables import Batch, Embedding, Problem, Run, SampleSet
from tests.emulators import TOKEN, Emulator
from tests.integration.conftest import Outbox, some_images, work_off
from worker.compute import scoring
from worker.context import Context
from worker.embedding.model.unembedding import unembed
from worker.pipeline.sample_batch import sample_batch
from worker.records import batches

IMAGES = 5
PARAMETERS = Parameters(reads=30, tiles=3, qpu="tiny", visible=Visible.FOLDED)


@pytest.fixture(scope="module")
def server() -> Iterator[Emulator]:
    with Emulator("--solver=tiny=pegasus:6:6:10", f"--token={TOKEN}") as emulator:
        yield emulator


@pytest.fixture
def emulator(server: Emulator) -> Iterator[Emulator]:
    yield server
    server.break_down(clear=True)


def a_context(database: Database, outbox: Outbox, emulator: Emulator, collect_s: float = 2.0) -> Context:
    settings = WorkerSettings(retry_base_s=0.01, quarantine_s=0.2, collect_s=collect_s)
    context = Context(database, settings, outbox)
    context.solvers.shared = load_settings(emulator_url=emulator.endpoint, emulator_token=TOKEN)
    return context


@pytest.fixture
def context(database: Database, outbox: Outbox, emulator: Emulator) -> Iterator[Context]:
    context = a_context(database, outbox, emulator)
    yield context
    context.solvers.disconnect(Solver.EMULATOR, PARAMETERS)


def enqueue(context: Context, network: ChosenNetwork, images: int = IMAGES, gauge: Gauge = Gauge.NONE) -> int:
    """Enqueue a run of one batch; return the batch."""
    chosen = RunOptions(batch_size=IMAGES)
    run = enqueue_run(context.database, some_images(images), network, Solver.EMULATOR, PARAMETERS, chosen).id
    with context.database.reading() as session:
        return session.execute(select(Batch.id).where(Batch.run_id == run)).scalar_one()


def sample_until(
    context: Context, batch: int, condition: Callable[[Sequence[Problem]], bool]
) -> list[Problem]:
    """Sample the batch whenever it is due, until its problems meet the condition; return them."""
    for _ in range(100):
        with context.database.reading() as session:
            query = select(Problem).where(Problem.batch_id == batch).order_by(Problem.id)
            problems = list(session.execute(query).scalars())
            session.expunge_all()
        if condition(problems):
            return problems
        sample_batch(context, batch)
        time.sleep(0.05)
    raise AssertionError(f"the problems are {[problem.state for problem in problems]}")


def finish(context: Context, batch: int, images: int = IMAGES) -> list[Problem]:
    """Sample the batch until all images are answered, and score it; return its problems."""

    def all_answered(problems: Sequence[Problem]) -> bool:
        states = [problem.count for problem in problems if problem.state is ProblemState.ANSWERED]
        return sum(states) == images

    problems = sample_until(context, batch, all_answered)
    work_off(context, Message(Task.AGGREGATE_BATCH, batch))
    with context.database.reading() as session:
        assert session.execute(select(Run.state).join(Batch).where(Batch.id == batch)).scalar_one() is (
            RunState.DONE
        )
    return problems


def assert_reads_are_of_their_images(context: Context, batch: int) -> None:
    """Assert that the solver's energies are those of the images on their tiles.

    The solver adds up all images of a problem. Where no chain is broken, only a constant differs.
    """
    with context.database.reading() as session:
        batch_input = batches.load(session, batch)
        network = context.networks.get(session, batch_input.network)
        stored = session.execute(
            select(Problem, SampleSet.data, Embedding.tiling)
            .join(SampleSet, SampleSet.problem_id == Problem.id)
            .join(Embedding, Embedding.id == Problem.embedding_id)
            .where(Problem.batch_id == batch, Problem.state == ProblemState.ANSWERED)
        ).all()
        session.expunge_all()
    terms = scoring.linear_terms(network, batch_input)
    assert sum(row.Problem.count for row in stored) == len(terms)
    for problem, data, chains in stored:
        reads = samples.decode(data)
        tiles = tiling.decode(chains).span(problem.first_tile, problem.count)
        images = slice(problem.first_image, problem.first_image + problem.count)
        units = unembed(reads.packed[0], tiles)
        energies = terms.model.energies(terms.take(images), units.bits).sum(axis=0)
        whole = np.array([unembed(read[None], tiles).chain_breaks.max() == 0.0 for read in reads.packed[0]])
        assert whole.sum() > 5
        rest = reads.energies[0][whole] - problem.scale * energies[whole]
        assert np.ptp(energies[whole]) * problem.scale > 0.1
        np.testing.assert_allclose(rest, rest[0], atol=2e-3)
        assert abs(problem.estimated_us - problem.charged_us) <= 0.5  # whole microseconds


def test_images_whose_answers_are_lost_lie_on_other_tiles(
    context: Context, working: ChosenNetwork, emulator: Emulator
) -> None:
    emulator.break_down({"target": "answer", "kind": "lose", "count": 2})
    batch = enqueue(context, working, gauge=Gauge.TILE)
    problems = finish(context, batch)
    problems.sort(key=lambda problem: problem.first_image)
    lost = Counter(problem.first_image for problem in problems if problem.state is ProblemState.FAILED)
    answered = [problem for problem in problems if problem.state is ProblemState.ANSWERED]
    assert lost
    assert [(problem.first_image, problem.count) for problem in answered] == [(0, 3), (3, 2)]
    assert [problem.first_tile for problem in answered] == [lost[0], lost[3]]
    assert_reads_are_of_their_images(context, batch)


def test_another_worker_adopts_a_problem_with_its_tiles_and_its_gauge(
    context: Context, database: Database, outbox: Outbox, working: ChosenNetwork, emulator: Emulator
) -> None:
    emulator.break_down({"target": "answer", "kind": "lose", "count": 1})
    batch = enqueue(context, working, images=2, gauge=Gauge.UNIT)
    (lost,) = sample_until(context, batch, lambda found: [p.state for p in found] == [ProblemState.FAILED])
    emulator.break_down({"target": "submit", "kind": "reset", "when": "after", "count": 1})
    _, sending = sample_until(context, batch, lambda found: len(found) == 2)
    assert sending.state is ProblemState.SENDING
    other = a_context(database, outbox, emulator)
    _, adopted = finish(other, batch, images=2)
    other.solvers.disconnect(Solver.EMULATOR, PARAMETERS)
    assert adopted.adopted
    assert (lost.first_tile, adopted.first_tile) == (0, 1)
    assert_reads_are_of_their_images(other, batch)


def test_a_problem_that_never_arrived_keeps_its_tiles(
    context: Context, working: ChosenNetwork, emulator: Emulator
) -> None:
    emulator.break_down({"target": "submit", "kind": "reset", "when": "before", "count": 1})
    batch = enqueue(context, working)
    problems = finish(context, batch)
    assert max(problem.times_sent for problem in problems) == 2
    assert [problem.first_tile for problem in problems] == [0, 0]
    assert_reads_are_of_their_images(context, batch)


def test_an_answer_of_an_earlier_graph_is_read_from_its_own_tiles(
    context: Context, database: Database, outbox: Outbox, working: ChosenNetwork, emulator: Emulator
) -> None:
    hasty = a_context(database, outbox, emulator, collect_s=0.2)
    emulator.break_down({"target": "answer", "kind": "delay", "delay_s": 2.5, "count": 1})
    batch = enqueue(hasty, working, images=2, gauge=Gauge.UNIT)
    sample_until(hasty, batch, lambda found: [p.state for p in found] == [ProblemState.SENT])
    hasty.solvers.disconnect(Solver.EMULATOR, PARAMETERS)
    emulator.break_down(regraph=["tiny"])
    finish(context, batch, images=2)
    with database.reading() as session:
        assert session.execute(select(func.count()).select_from(Embedding)).scalar_one() == 2
    assert_reads_are_of_their_images(context, batch)
