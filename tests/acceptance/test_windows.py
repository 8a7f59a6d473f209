"""A window closes during a run and the next one opens, on a real stack and an emulator."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select

from producer.networks.choose import choose_network
from producer.runs import hints
from producer.runs.enqueue import RunOptions, enqueue_run
from schema.calendar.run_hours import RunHours
from schema.calendar.windows import Windows
from schema.messages import Message, Task
from schema.parameters import Parameters, Solver, Visible
from schema.shapes import ImageShape
from schema.states import PausedBy, ProblemState, RunState
from schema.tables import Event, Problem, Run
from tests.acceptance.conftest import wait_for
from tests.acceptance.night import Night, lasting_emulator, night
from tests.integration.conftest import some_images

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

# A problem takes about 0.1 s of modelled time, and of ours: all of them about 15 s.
PARAMETERS = Parameters(reads=1000, tiles=2, qpu="tiny", visible=Visible.FOLDED)
IMAGES, OPEN_S, CLOSED_S, MARGIN_S = 300, 8, 5, 1.0


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_window_closes_in_mid_run_and_opens_again(database_url: str, tmp_path: Path) -> None:
    env = {"ANNEALQ_WORKER_WINDOW_MARGIN_S": str(MARGIN_S)}
    with (
        lasting_emulator(tmp_path) as emulator,
        night(tmp_path / "home", database_url, emulator, env=env) as at,
    ):
        at.finish(at.enqueue(4))  # the workers are up, and the embedding is found
        run, closes, opens = enqueue(at)
        wait_for(lambda: at.state(run) is RunState.PAUSED, "the window to close")
        wait_for(lambda: in_flight(at) == 0, "what is in flight to be collected", 5)
        now = clock(at)
        assert now < opens
        answered = at.answered()
        assert 0 < answered < IMAGES // 2
        with at.database.reading() as session:
            held = session.execute(select(Run.paused_by).where(Run.id == run)).scalar_one()
        assert held is PausedBy.WINDOW
        at.finish(run)
        at.assert_every_image_once(run)
        at.assert_books_agree()
        with at.database.reading() as session:
            query = select(Problem.sending_at, Problem.answered_at, Problem.times_sent)
            rows = session.execute(query.where(Problem.sending_at > closes - timedelta(seconds=OPEN_S))).all()
            moves = select(Event.target).where(Event.subject == "runs", Event.row == run)
            told = list(session.execute(moves.order_by(Event.id)).scalars())
        assert all(answered <= closes or sent >= opens for sent, answered, _ in rows)
        assert {times for _, _, times in rows} == {1}
        assert told == ["queued", "running", "paused", "running", "aggregating", "done"]


def enqueue(at: Night) -> tuple[int, datetime, datetime]:
    """A run with a window that is open now; when that closes, and when the next one opens."""
    now = clock(at).replace(microsecond=0)
    closes = now + timedelta(seconds=OPEN_S)
    opens = closes + timedelta(seconds=CLOSED_S)
    spans = [f"{now:%H:%M:%S}-{closes:%H:%M:%S}", f"{opens:%H:%M:%S}-{opens + timedelta(hours=11):%H:%M:%S}"]
    options = RunOptions(batch_size=30, hours=RunHours(Windows.parse(spans, "UTC")))
    with at.database.reading() as session:
        network = choose_network(session, "digits", ImageShape.image(8, 8))
    images = some_images(IMAGES, seed=1)
    run = enqueue_run(at.database, images, network, Solver.EMULATOR, PARAMETERS, options).id
    hints.send(at.settings.broker_url, Message(Task.DISPATCH))
    return run, closes, opens


def clock(at: Night) -> datetime:
    with at.database.reading() as session:
        return at.database.now(session)


def in_flight(at: Night) -> int:
    with at.database.reading() as session:
        query = select(func.count()).where(Problem.state.in_([ProblemState.SENDING, ProblemState.SENT]))
        return session.execute(query).scalar_one()
