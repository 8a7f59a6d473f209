"""Batches on a solver with qubits, from images to classifications, against an emulator with many faults.

What it has charged is compared with the database.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from producer.calibration.enqueue import enqueue_calibration, newest_calibration
from producer.calibration.grid import ParameterGrid
from producer.networks.chosen import ChosenNetwork
from producer.runs.enqueue import RunOptions, enqueue_run
from schema.codecs import arrays
from schema.database import Database
from schema.errors import Unavailable
from schema.messages import Message, Task
from schema.parameters import Parameters, Solver, Unembedding, Visible
from schema.settings import load as load_settings
from schema.settings.worker import WorkerSettings
from schema.states import BatchState, CalibrationState, ProblemState, RunState
from schema.tables import Batch, Calibration, Chip, Classification, Embedding, Problem, Run, SampleSet
from tests import PATIENCE_S
from tests.emulators import TOKEN, Emulator, wait_until
from tests.integration.conftest import Outbox, some_images, work_off
from tests.proxies import proxying
from worker.context import Context
from worker.pipeline.plan_calibration import plan_calibration
from worker.pipeline.sample_batch import sample_batch
from worker.sapi.qpu import SolverConnection
from worker.tasks import sample_and_score

TINY = ("--solver=tiny=pegasus:6:6:10", f"--token={TOKEN}")
PARAMETERS = Parameters(reads=20, tiles=2, qpu="tiny", visible=Visible.FOLDED)
IMAGES = 13


@pytest.fixture(scope="module")
def server() -> Iterator[Emulator]:
    with Emulator(*TINY) as emulator:
        yield emulator


@pytest.fixture
def emulator(server: Emulator) -> Iterator[Emulator]:
    yield server
    server.break_down(clear=True, online=["tiny"])


@pytest.fixture
def context(database: Database, outbox: Outbox, emulator: Emulator) -> Iterator[Context]:
    settings = WorkerSettings(
        max_attempts=5, retry_base_s=0.01, quarantine_s=0.3, collect_s=1.0, solver_timeout_s=5.0, in_flight=4
    )
    made = Context(database, settings, outbox)
    made.solvers.shared = replace_settings(emulator.endpoint)
    yield made
    made.solvers.disconnect(Solver.EMULATOR, PARAMETERS)


def replace_settings(url: str, token: str = TOKEN) -> Any:
    return load_settings(emulator_url=url, emulator_token=token)


def enqueue(database: Database, network: ChosenNetwork, parameters: Parameters = PARAMETERS) -> int:
    images = some_images(IMAGES)
    return enqueue_run(database, images, network, Solver.EMULATOR, parameters, RunOptions(batch_size=8)).id


def finish(context: Context, run: int, *, attempts: int = 20) -> RunState:
    """Work a run off; requeued batches are sampled again when they are due."""
    for _ in range(attempts):
        with context.database.reading() as session:
            state = session.execute(select(Run.state).where(Run.id == run)).scalar_one()
            pending = select(Batch.id).where(Batch.run_id == run, Batch.state == BatchState.PENDING)
            batches = list(session.execute(pending).scalars())
        if state in (RunState.DONE, RunState.FAILED):
            return state
        work_off(context, *(Message(Task.SAMPLE_BATCH, batch) for batch in batches))
        time.sleep(0.1)
    raise AssertionError(f"run {run} is still {state}")


def problems(session: Session, run: int) -> list[Problem]:
    query = select(Problem).join(Batch, Batch.id == Problem.batch_id).where(Batch.run_id == run)
    return list(session.execute(query.order_by(Problem.id)).scalars())


def assert_books_agree(context: Context, emulator: Emulator, before: dict[str, Any], run: int) -> None:
    """Assert that the database has what the emulator accepted and charged since ``before``, once each."""
    now = emulator.ledger()
    accepted = {one["id"]: one for one in now["problems"][len(before["problems"]) :]}
    with context.database.reading() as session:
        ours = {problem.sapi_id: problem for problem in problems(session, run) if problem.sapi_id}
        assert ours.keys() == accepted.keys()
        for sapi_id, problem in ours.items():
            assert problem.label == accepted[sapi_id]["label"]
            if problem.state is ProblemState.ANSWERED:
                assert problem.charged_us == accepted[sapi_id]["charged_us"]
        images = list(
            session.execute(
                select(Classification.image)
                .where(Classification.run_id == run)
                .order_by(Classification.image)
            ).scalars()
        )
    assert images == list(range(IMAGES))


def test_every_image_is_classified_and_charged_once(
    context: Context, working: ChosenNetwork, emulator: Emulator
) -> None:
    before = emulator.ledger()
    run = enqueue(context.database, working)
    assert finish(context, run) is RunState.DONE
    assert_books_agree(context, emulator, before, run)
    with context.database.reading() as session:
        made = problems(session, run)
        assert [problem.count for problem in made] == [2, 2, 2, 2, 2, 2, 1]
        assert all(problem.estimated_us == round(problem.charged_us) for problem in made)
        assert all(problem.scale and problem.chain_strength for problem in made)
        qubits = session.execute(
            select(SampleSet.variables, Embedding.tiles, Embedding.qubits)
            .join(Problem, Problem.id == SampleSet.problem_id)
            .join(Embedding, Embedding.id == Problem.embedding_id)
            .where(Problem.count == 2)
        ).first()
        assert qubits.tiles == 2
        assert qubits.variables == qubits.qubits
        breaks = arrays.decode_chain_breaks(made[0].chain_breaks, images=2)
        assert breaks.shape == (2, session.execute(select(Embedding.units)).scalar_one())
        assert 0.0 <= breaks.min() <= breaks.max() <= 1.0


def test_a_second_run_searches_nothing(context: Context, working: ChosenNetwork) -> None:
    first = enqueue(context.database, working)
    finish(context, first)
    second = enqueue(context.database, working, replace(PARAMETERS, seed=1))
    finish(context, second)
    with context.database.reading() as session:
        searched = dict(
            session.execute(select(Batch.run_id, func.sum(Batch.embedding_s)).group_by(Batch.run_id)).all()
        )
        assert searched[first] > 0.0
        assert searched[second] == 0.0
        assert session.execute(select(func.count()).select_from(Embedding)).scalar_one() == 1


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_lost_connection_is_settled_by_label(
    context: Context, working: ChosenNetwork, emulator: Emulator, when: str
) -> None:
    before = emulator.ledger()
    emulator.break_down({"target": "submit", "kind": "reset", "when": when, "count": 1})
    run = enqueue(context.database, working)
    assert finish(context, run) is RunState.DONE
    assert_books_agree(context, emulator, before, run)
    with context.database.reading() as session:
        made = problems(session, run)
        adopted = sum(problem.adopted for problem in made)
        again = sum(problem.times_sent - 1 for problem in made)
    assert (adopted > 0, again > 0) == ((False, True) if when == "before" else (True, False))


@pytest.mark.parametrize(
    "fault",
    [
        {"target": "submit", "kind": "error", "status": 429, "retry_after": 1.0, "count": 1},
        {"target": "submit", "kind": "error", "status": 503, "count": 2},
        {"target": "submit", "kind": "error", "status": 500, "when": "after", "count": 1},
        {"target": "poll", "kind": "error", "status": 404, "count": 1},
        {"target": "poll", "kind": "delay", "delay_s": 2.0, "count": 1},
        {"target": "answer", "kind": "error", "status": 500, "count": 1},
        {"target": "answer", "kind": "corrupt", "damage": "base64", "count": 1},
        {"target": "answer", "kind": "corrupt", "damage": "short", "count": 1},
        {"target": "answer", "kind": "corrupt", "damage": "media", "count": 1},
        {"target": "answer", "kind": "reset", "count": 1},
        {"target": "solvers", "kind": "error", "status": 503, "count": 1},
    ],
    ids=lambda fault: "-".join(str(part) for part in fault.values()),
)
def test_what_goes_wrong_once_costs_nothing_twice(
    context: Context, working: ChosenNetwork, emulator: Emulator, fault: dict[str, Any]
) -> None:
    before = emulator.ledger()
    emulator.break_down(fault)
    run = enqueue(context.database, working)
    assert finish(context, run) is RunState.DONE
    assert_books_agree(context, emulator, before, run)


def spent(context: Context, emulator: Emulator, before: dict[str, Any], run: int) -> tuple[int, int, int]:
    """Return the charged and wasted time of a run by the database, and the emulator's charges since."""
    since = accepted_since(emulator, before)
    with context.database.reading() as session:
        made = problems(session, run)
        charged = sum(problem.charged_us or 0 for problem in made)
        wasted = sum(problem.wasted_us for problem in made)
    return round(charged, 1), round(wasted, 1), round(sum(one["charged_us"] for one in since), 1)


def test_a_lost_answer_is_paid_for_again_and_both_are_in_the_books(
    context: Context, working: ChosenNetwork, emulator: Emulator
) -> None:
    before = emulator.ledger()
    emulator.break_down({"target": "answer", "kind": "lose", "count": 2})
    run = enqueue(context.database, working)
    assert finish(context, run) is RunState.DONE
    charged, wasted, theirs = spent(context, emulator, before, run)
    assert charged + wasted == pytest.approx(theirs, abs=1)  # estimates are whole
    with context.database.reading() as session:
        lost = [problem for problem in problems(session, run) if problem.state is ProblemState.FAILED]
        assert [problem.wasted_us for problem in lost] == [problem.estimated_us for problem in lost]
        assert 1 <= len(lost) <= 2  # the client may ask twice for one of them
        query = select(Classification.image).where(Classification.run_id == run)
        assert sorted(session.execute(query).scalars()) == list(range(IMAGES))


def test_an_error_of_a_gateway_does_not_mean_that_a_problem_has_not_arrived(
    context: Context, working: ChosenNetwork, emulator: Emulator
) -> None:
    before = emulator.ledger()
    emulator.break_down({"target": "submit", "kind": "error", "status": 503, "when": "after", "count": 2})
    run = enqueue(context.database, working)
    assert finish(context, run) is RunState.DONE
    assert_books_agree(context, emulator, before, run)


def test_a_problem_that_is_still_on_its_way_is_not_sent_again(
    context: Context, working: ChosenNetwork, emulator: Emulator
) -> None:
    before = emulator.ledger()
    emulator.break_down({"target": "submit", "kind": "delay", "delay_s": 1.7, "count": 1})
    run = enqueue(context.database, working)
    assert finish(context, run, attempts=20) is RunState.DONE
    assert_books_agree(context, emulator, before, run)


def test_a_problem_that_arrives_during_the_look_for_it_is_not_sent_again(
    context: Context, working: ChosenNetwork, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find_slowly(connection: SolverConnection, labels: list[str]) -> Any:
        found = find(connection, labels)
        while any(map(connection.is_in_transit, tuple(connection._open))):
            time.sleep(0.02)
        return found

    find = SolverConnection.find
    monkeypatch.setattr(SolverConnection, "find", find_slowly)
    before = emulator.ledger()
    emulator.break_down({"target": "submit", "kind": "delay", "delay_s": 1.7, "count": 1})
    run = enqueue(context.database, working)
    assert finish(context, run, attempts=20) is RunState.DONE
    assert_books_agree(context, emulator, before, run)


def test_what_a_problem_was_charged_can_be_asked_for_while_its_answer_is_kept(
    context: Context, working: ChosenNetwork, emulator: Emulator
) -> None:
    run = enqueue(context.database, working)
    finish(context, run)
    with context.database.reading() as session:
        first, second, *_ = problems(session, run)
        session.expunge_all()
    qpu = context.solvers.connect(Solver.EMULATOR, PARAMETERS)
    assert qpu.charge_us(str(first.sapi_id)) == first.charged_us
    emulator.break_down({"target": "answer", "kind": "lose", "count": 1})
    assert qpu.charge_us(str(second.sapi_id)) is None
    emulator.break_down({"target": "answer", "kind": "error", "status": 500, "count": 1})
    with pytest.raises(Unavailable):
        qpu.charge_us(str(first.sapi_id))


def accepted_since(emulator: Emulator, before: dict[str, Any]) -> list[dict[str, Any]]:
    return emulator.ledger()["problems"][len(before["problems"]) :]


def are_charged(accepted: Sequence[dict[str, Any]], count: int) -> bool:
    return len(accepted) == count and all(one["charged_us"] for one in accepted)


def test_a_problem_that_arrives_after_all_is_counted_as_a_duplicate(
    context: Context, working: ChosenNetwork, emulator: Emulator
) -> None:
    before = emulator.ledger()
    run = enqueue(context.database, working)
    with context.database.reading() as session:
        batch = session.execute(select(Batch.id).where(Batch.run_id == run).limit(1)).scalar_one()
    patient = context.settings.model_copy(update={"collect_s": float(PATIENCE_S)})
    other = Context(context.database, patient, context.hints)  # of another worker
    other.solvers.shared = context.solvers.shared
    with proxying(emulator.endpoint) as proxy:
        proxy.held = threading.Event()
        path = urlsplit(emulator.endpoint).path
        context.solvers.shared = replace_settings(proxy.address + path)
        sample_batch(context, batch)
        time.sleep(0.1)  # until the batch is due again, and its problems count as never arrived
        emulator.break_down({"target": "answer", "kind": "delay", "delay_s": 3600.0})

        def arrive() -> None:
            """Let the first request, which was overtaken, arrive before the second is answered."""
            sent = len(wait_until(lambda: accepted_since(emulator, before), PATIENCE_S))
            proxy.held.set()  # type: ignore[union-attr]
            wait_until(lambda: are_charged(accepted_since(emulator, before), 2 * sent), PATIENCE_S)
            emulator.break_down(clear=True)

        arriving = threading.Thread(target=arrive)
        arriving.start()
        sample_and_score(other, batch)
        arriving.join(PATIENCE_S)
        assert finish(other, run, attempts=20) is RunState.DONE
    other.solvers.disconnect(Solver.EMULATOR, PARAMETERS)
    charged, wasted, theirs = spent(context, emulator, before, run)
    assert charged + wasted == theirs
    with context.database.reading() as session:
        made = problems(session, run)
        duplicates = sum(problem.duplicates for problem in made)
        figures = session.execute(select(Run.statistics).where(Run.id == run)).scalar_one()
    assert duplicates == len(emulator.ledger()["problems"]) - len(before["problems"]) - len(made) > 0
    assert (figures["duplicates"], figures["qpu_wasted_us"]) == (duplicates, wasted)


def test_a_graph_that_changes_gets_an_embedding_of_its_own(
    context: Context, working: ChosenNetwork, emulator: Emulator
) -> None:
    first = enqueue(context.database, working)
    finish(context, first)
    emulator.break_down(regraph=["tiny"])
    second = enqueue(context.database, working, replace(PARAMETERS, seed=1))
    assert finish(context, second) is RunState.DONE
    with context.database.reading() as session:
        graphs = dict(
            session.execute(
                select(Batch.run_id, Chip.graph_id)
                .join(Embedding, Embedding.id == Batch.embedding_id)
                .join(Chip, Chip.id == Embedding.chip_id)
            ).all()
        )
        assert graphs[first] != graphs[second]
        assert session.execute(select(func.count()).select_from(Embedding)).scalar_one() == 2
        old = session.execute(select(func.count()).where(Classification.run_id == first)).scalar_one()
    assert old == IMAGES
    rescore(context, first)  # the samples of the old graph can still be read


def rescore(context: Context, run: int) -> list[int | None]:
    """Score the stored samples of a run's batches again; return the predictions."""
    predicted: list[int | None] = []
    from worker.compute import scoring
    from worker.records import batches

    with context.database.reading() as session:
        for batch in session.execute(select(Batch.id).where(Batch.run_id == run)).scalars().all():
            work = batches.load(session, batch)
            network = context.networks.get(session, work.network)
            rows, _ = scoring.score(network, work, batches.load_samples(session, batch))
            predicted += [row.predicted for row in rows]
    return predicted


@pytest.mark.parametrize("rule", list(Unembedding))
def test_samples_can_be_unembedded_in_every_way(
    context: Context, working: ChosenNetwork, rule: Unembedding
) -> None:
    run = enqueue(context.database, working)
    finish(context, run)
    with context.database.transaction() as session:
        changed = replace(PARAMETERS, unembedding=rule).to_dict()
        session.execute(update(Run).where(Run.id == run).values(parameters=changed))
    assert len(rescore(context, run)) == IMAGES


@pytest.mark.parametrize(
    ("parameters", "match"),
    [
        (replace(PARAMETERS, qpu="unheard-of"), "solver not found"),
        (replace(PARAMETERS, reads=10_000, annealing_time_us=1000.0), "use fewer reads"),
        (replace(PARAMETERS, annealing_time_us=9e3), "annealing|anneal of"),
        (replace(PARAMETERS, qpu='{"qubits__contains": 1e9}'), "solver not found"),
    ],
    ids=["unknown solver", "too long", "too slow", "no such features"],
)
def test_what_cannot_be_is_refused_and_costs_nothing(
    context: Context, working: ChosenNetwork, emulator: Emulator, parameters: Parameters, match: str
) -> None:
    before = emulator.ledger()
    run = enqueue(context.database, working, parameters)
    assert finish(context, run) is RunState.FAILED
    assert emulator.ledger() == before
    with context.database.reading() as session:
        error = session.execute(select(Run.error).where(Run.id == run)).scalar_one()
    assert error is not None
    assert any(part in error for part in match.split("|")), error


def test_a_calibration_holds_for_the_graph_it_was_made_on(
    context: Context, working: ChosenNetwork, emulator: Emulator
) -> None:
    grid = ParameterGrid.embedded(
        lams=(1.0, 3.0), scales=(1.0,), reads=20, visibles=(Visible.FOLDED,), qpu="tiny", tiles=2
    )
    made = enqueue_calibration(context.database, some_images(8), working, Solver.EMULATOR, grid)
    plan_calibration(context, made.id)
    with context.database.reading() as session:
        batches = list(session.execute(select(Batch.id)).scalars())
    work_off(context, *(Message(Task.SAMPLE_BATCH, batch) for batch in batches))
    assert len(batches) == 3  # two penalties, and another chain strength
    with context.database.reading() as session:
        held = session.execute(select(Calibration)).scalar_one()
        assert held.state is CalibrationState.READY, held.error
        assert held.graph_id == session.execute(select(Chip.graph_id)).scalar_one()
        fitted = newest_calibration(session, working.id, Solver.EMULATOR, None, "tiny")
        assert fitted is not None
        assert fitted.parameters["chain_strength"] in (1.0, 1.414)
        assert newest_calibration(session, working.id, Solver.EMULATOR, None, None) is None
        assert newest_calibration(session, working.id, Solver.LOCAL, None) is None
    emulator.break_down(regraph=["tiny"])
    again = enqueue(context.database, working, replace(PARAMETERS, seed=7))
    context.solvers.disconnect(Solver.EMULATOR, PARAMETERS)
    finish(context, again)
    with context.database.reading() as session:
        assert newest_calibration(session, working.id, Solver.EMULATOR, None, "tiny") is None


def test_an_offline_solver_is_waited_for(
    context: Context, working: ChosenNetwork, emulator: Emulator
) -> None:
    emulator.break_down(offline=["tiny"])
    run = enqueue(context.database, working)
    with context.database.reading() as session:
        batch = session.execute(select(Batch.id).where(Batch.run_id == run).limit(1)).scalar_one()
    sample_batch(context, batch)
    with context.database.reading() as session:
        assert (
            session.execute(select(Batch.state).where(Batch.id == batch)).scalar_one() is BatchState.PENDING
        )
    emulator.break_down(online=["tiny"])
    assert finish(context, run) is RunState.DONE
