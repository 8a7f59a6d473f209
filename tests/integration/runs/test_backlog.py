"""What waits for a worker: not the batches of paused and cancelled runs."""

from __future__ import annotations

from datetime import timedelta

from producer.dashboard.views import overview
from producer.networks.chosen import ChosenNetwork
from producer.progress import backlog
from producer.progress.backlog import BatchCount
from producer.runs import control
from producer.runs.enqueue import RunOptions, enqueue_run
from schema.database import Database
from schema.parameters import Parameters, Solver
from tests.integration.conftest import START, Clock, some_images


def test_paused_and_cancelled_work_does_not_wait(
    timed: Database, clock: Clock, network: ChosenNetwork
) -> None:
    runs = [
        enqueue_run(
            timed, some_images(30, seed=seed), network, Solver.LOCAL, Parameters(), RunOptions(batch_size=10)
        ).id
        for seed in range(3)
    ]
    clock.forward(60)
    later = START + timedelta(seconds=60)
    with timed.reading() as session:
        assert backlog.due(session, later) == backlog.DueBatches(9, START)
        assert ("images waiting", "90", "batches: 9 pending") in overview.queue_tiles(session, later)
    control.pause(timed, runs[0])
    control.cancel(timed, runs[1])
    with timed.reading() as session:
        counts = backlog.count_by_state(session)
        waiting = {state: count for state, count in counts.items() if count.batches}
        assert waiting == {
            "pending": BatchCount(3, 30),
            "paused": BatchCount(3, 30),
            "cancelled": BatchCount(3, 30),
        }
        tiles = overview.queue_tiles(session, later)
        assert ("images waiting", "30", "batches: 3 pending") in tiles
        assert ("images paused", "30", "with their runs") in tiles
    control.pause(timed, runs[2])
    with timed.reading() as session:
        assert backlog.due(session, later).age_s(later) == 0.0
        assert [name for name, *_ in overview.queue_tiles(session, later)] == [
            "images waiting",
            "images paused",
        ]
