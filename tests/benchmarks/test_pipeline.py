"""Figures of the queue: how busy the QPU is, and what the queue costs.

    ANNEALQ_BENCH_IMAGES=100000 python -m pytest -m bench -s tests/benchmarks/test_pipeline.py -k flat

Everything has its default: 100 reads, whole problems in a batch, one worker per processor, SQLite. The
emulator shares the processors with the workers; its reads are random bits. Times are of warm processes.
Processor time is that of all processes except the emulator; that by stages is measured in one process.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from dwave.system import DWaveSampler
from sqlalchemy import func, select

from producer.networks import choose, shipped
from producer.runs import hints
from producer.runs.enqueue import RunOptions, enqueue_run
from producer.stack.process import environment
from producer.stack.stack import Stack, worker_command
from schema.codecs import samples, tiling
from schema.database import Database
from schema.messages import Message, Task, queue_names
from schema.network import weights
from schema.parameters import Parameters, Solver, Visible
from schema.settings import load
from schema.settings.worker import WorkerSettings
from schema.states import RunState
from schema.tables import Batch, Embedding, Problem, Run, SampleSet
from tests.benchmarks.conftest import Record
from tests.benchmarks.plant import CHIP, Plant, mnist, plant, recall_embeddings, remember_embeddings
from tests.benchmarks.rivals.submission import Rival, Shop, in_parallel, one_by_one, without_waiting
from tests.benchmarks.stages import QUEUE, STAGES, Stages
from tests.emulators import TOKEN, Emulator
from tests.integration.conftest import Outbox, work_off
from worker.context import Context
from worker.network.trained import TrainedNetwork

IMAGES = int(os.environ.get("ANNEALQ_BENCH_IMAGES", "10000"))
ROUNDS = 5
PLANNED_READS = 5  # of the plan for sampled `mnist`, as accurate as 100: test_plans.py -k sampled

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1800 + IMAGES // 50)]


@pytest.fixture(scope="module")
def patch() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as made:
        yield made


@pytest.fixture(scope="module")
def on_time(tmp_path_factory: pytest.TempPathFactory, patch: pytest.MonkeyPatch) -> Iterator[Plant]:
    """Its QPU takes the time that a QPU takes."""
    with plant(tmp_path_factory.mktemp("bench") / "on-time", patch, clock="real") as made:
        yield made


@pytest.fixture
def instant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Plant]:
    """Its QPU takes no time."""
    with plant(tmp_path / "instant", monkeypatch, clock="off") as made:
        yield made


@pytest.mark.slow
def test_utilisation(record: Record, on_time: Plant) -> None:
    runs = [on_time.classify(mnist(IMAGES), Parameters(seed=seed)) for seed in range(3)]
    shares = [100 * run.utilisation for run in runs]
    what = f"emulated QPU busy while {IMAGES:,} images are classified (real clock)"
    record(what, statistics.median(shares), "%", 95, spread=shares)


@pytest.mark.parametrize(
    ("rival", "name", "images", "goal", "visible"),
    [
        (one_by_one, "(a) one image after another", 12, 100, Visible.SAMPLED),
        (one_by_one, "(a), visible units folded by both", 12, None, Visible.FOLDED),
        (without_waiting, "(b) without waiting", 60, 50, Visible.SAMPLED),
        (in_parallel, "(c) ParallelEmbeddingComposite", 64, 30, Visible.SAMPLED),
    ],
)
def test_rivals(
    record: Record,
    on_time: Plant,
    rival: Rival,
    name: str,
    images: int,
    goal: float | None,
    visible: Visible,
) -> None:
    """Images in a second, ours and theirs in turns on one emulator with a real clock."""
    test, some = mnist(3000), mnist(images).images
    on_time.classify(test, Parameters(visible=visible))
    remember_embeddings(on_time.database)
    shop = _shop(on_time, visible)
    rival(shop, some[:2])
    ours, theirs = [], []
    for turn in range(ROUNDS):
        ours.append(len(test.images) / on_time.classify(test, Parameters(visible=visible, seed=turn)).wall_s)
        started = time.monotonic()
        scores = rival(shop, some)
        theirs.append(images / (time.monotonic() - started))
        assert scores.shape == (images, 10)
    ratios = [mine / other for mine, other in zip(ours, theirs, strict=True)]
    shop.sampler.client.close()
    record(
        f"images in a second, against Ocean {name}",
        statistics.median(ours),
        "images/s",
        rival=statistics.median(theirs),
    )
    record(f"the same as a ratio, {name}", statistics.median(ratios), "x", goal, spread=ratios)


@pytest.fixture(scope="module")
def planned(on_time: Plant) -> list[float]:
    """Images in a second with the reads of a plan, in runs of as many images as a bulk has."""
    some = mnist(IMAGES)

    def rate(seed: int) -> float:
        parameters = Parameters(visible=Visible.SAMPLED, reads=PLANNED_READS, seed=seed)
        return IMAGES / on_time.classify(some, parameters).wall_s

    rate(ROUNDS)
    return [rate(seed) for seed in range(ROUNDS)]


@pytest.mark.parametrize(
    ("rival", "name", "images", "goal"),
    [
        (one_by_one, "(a) one image after another", 12, 100),
        (without_waiting, "(b) without waiting", 60, 50),
        (in_parallel, "(c) ParallelEmbeddingComposite", 64, 30),
    ],
)
def test_rivals_and_a_plan(
    record: Record,
    on_time: Plant,
    planned: list[float],
    rival: Rival,
    name: str,
    images: int,
    goal: float,
) -> None:
    """Images in a second with the reads that a plan chose on validation images, for the same accuracy.

    Ocean has no such plan: its reads are our default, 100. With as many reads as ours has no goal.
    """
    some, shop = mnist(images).images, _shop(on_time, Visible.SAMPLED)
    for reads, wanted in ((shop.reads, goal), (PLANNED_READS, None)):
        own = replace(shop, reads=reads)
        rival(own, some[:2])
        theirs = []
        for _ in range(ROUNDS):
            started = time.monotonic()
            rival(own, some)
            theirs.append(images / (time.monotonic() - started))
        ratios = [mine / other for mine, other in zip(planned, theirs, strict=True)]
        what = f"images in a second, {PLANNED_READS} reads by a plan, against Ocean {name}, {reads} reads"
        record(what, statistics.median(planned), "images/s", rival=statistics.median(theirs), spread=planned)
        record(
            f"the same as a ratio, {reads} reads, {name}",
            statistics.median(ratios),
            "x",
            wanted,
            spread=ratios,
        )
    shop.sampler.client.close()


@pytest.mark.parametrize("visible", [Visible.SAMPLED, Visible.FOLDED])
def test_overhead(
    record: Record, database: Database, monkeypatch: pytest.MonkeyPatch, visible: Visible
) -> None:
    """Processor time of an image by stages, in one process that samples and scores all batches of five runs.

    The producer is not measured. Encoding problems and answers belongs to the rest. Folded, as on qubits by
    default, a problem has nine times as many images.
    """
    share, context = IMAGES // ROUNDS, Context(database, WorkerSettings(), Outbox())
    network = choose.get_or_install_network(database, mnist(1), "mnist")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)

    def times_us(turn: int) -> dict[str, float]:
        parameters, found = Parameters(seed=turn, visible=visible), mnist(share, first=turn * share)
        enqueue_run(database, found, network, Solver.EMULATOR, parameters, RunOptions())
        times = stages.measure(lambda: work_off(context, Message(Task.DISPATCH)))
        return {stage: 1e6 * took_s / share for stage, took_s in times.items()}

    with Emulator(f"--solver={CHIP}", f"--token={TOKEN}", "--keep=100000", samples="instant") as emulator:
        context.solvers.shared = load(emulator_url=emulator.endpoint, emulator_token=TOKEN)
        stages = Stages(monkeypatch)
        recall_embeddings(database)
        turns = [times_us(turn) for turn in range(ROUNDS + 1)][1:]  # the first one imports and connects
    torch.set_num_threads(threads)
    remember_embeddings(database)
    with database.reading() as session:
        states = session.execute(select(Run.state)).scalars().all()
    assert states == [RunState.DONE] * (ROUNDS + 1)
    where = f"{visible}, {database.engine.dialect.name}"
    for stage in STAGES:
        spread = [times[stage] for times in turns]
        record(
            f"{stage}, processor time of an image, {where}", statistics.median(spread), "us", spread=spread
        )
    queue = [sum(times[stage] for stage in QUEUE) for times in turns]
    what = f"the queue ({', '.join(QUEUE)}), processor time of an image, {where}"
    record(what, statistics.median(queue), "us", 50, at_least=False, spread=queue)


def test_memory_and_room(record: Record, instant: Plant) -> None:
    run = instant.classify(mnist(IMAGES), Parameters(reads=1000, seed=3))
    record(
        f"peak memory of a worker, {IMAGES:,} images x 1000 reads",
        instant.peak_mb(),
        "MB",
        1000,
        at_least=False,
    )
    record(
        "stored for an image, 1000 reads of its qubits, random bits",
        _bytes(instant, run.run, IMAGES),
        "bytes",
    )
    local = instant.classify(mnist(200), Parameters(reads=1000), Solver.LOCAL, batch_size=100)
    stored = _bytes(instant, local.run, 200)
    record("the same, its 50 units, by the local annealer: most reads are the same", stored, "bytes")
    random = np.random.default_rng(0)
    bits = random.integers(0, 2, (100, 1000, 50), dtype=np.uint8)
    most = samples.encode(samples.RawReads.of(bits, random.normal(size=(100, 1000))))
    record("the same, 50 random units", len(most) / 100, "bytes", 11_000, at_least=False)


def test_cost_is_flat(record: Record, instant: Plant) -> None:
    """The most images once, and the fewest, many times, before and after; never those of the run before."""

    def cost_us(count: int, turn: int) -> float:
        found = mnist(count, first=1000 * turn)
        return 1e6 * instant.classify(found, Parameters(seed=turn)).cpu_s / count

    before = [cost_us(1000, turn) for turn in range(2, 2 + ROUNDS)]
    many = cost_us(IMAGES, 0)
    after = [cost_us(1000, turn) for turn in range(2, 2 + ROUNDS)]
    few = statistics.median(before + after)
    record("processor time of an image in a run of 1,000", few, "us", spread=before + after)
    record(f"the same in a run of {IMAGES:,}", many, "us")
    record("slope: the latter against the former", 100 * (many / few - 1), "%", 5, at_least=False)


def test_start_of_a_worker(record: Record, tmp_path: Path) -> None:
    """From the start of its process until it has claimed a batch that waits."""
    settings = load(home=tmp_path / "home", database_url=f"sqlite:///{tmp_path / 'annealq.db'}")
    took = []
    with Stack(settings, children=[]):
        database = Database(settings.database_url)
        one = mnist(1)
        network = choose.get_or_install_network(database, one, "mnist")
        for turn in range(ROUNDS):
            run = enqueue_run(
                database, one, network, Solver.LOCAL, Parameters(reads=1, seed=turn), RunOptions()
            ).id
            hints.send(settings.broker_url, Message(Task.DISPATCH))
            took.append(_seconds_until_claimed(database, run, environment(settings)))
        database.dispose()
    first = "start of a worker until its first task"
    record(first, statistics.median(took), "s", 1.5, at_least=False, spread=took)


def _seconds_until_claimed(database: Database, run: int, env: dict[str, str]) -> float:
    started = time.time()
    worker = subprocess.Popen(
        worker_command(1, queue_names()),
        env={**os.environ, **env},
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        while True:
            assert worker.poll() is None, "the worker has ended"
            with database.reading() as session:
                row = session.execute(
                    select(Batch.started_at, Batch.scored_at).where(Batch.run_id == run)
                ).one()
            if row.scored_at is not None:
                return float(row.started_at.timestamp() - started)
            time.sleep(0.02)
    finally:
        for process in (*psutil.Process(worker.pid).children(recursive=True), worker):
            process.kill()  # its batch is done, and its last breath is not measured
        worker.wait()


def _shop(made: Plant, visible: Visible) -> Shop:
    """A rival's sampler on our emulator, with our embeddings."""
    sampler = DWaveSampler(endpoint=made.emulator.endpoint, token=TOKEN, solver={"name": CHIP})
    bundle = shipped.load("mnist")
    architecture = bundle.description.architecture
    network = TrainedNetwork(architecture, weights.decode(bundle.data, architecture), "energy")
    model = network.model(visible, None)
    with made.database.reading() as session:
        query = select(Embedding.tiling).where(Embedding.units == model.units)
        tiles = tiling.decode(session.execute(query).scalars().one())
    embeddings = [
        {unit: tiles.chain(k, unit).tolist() for unit in range(tiles.units)} for k in range(tiles.tiles)
    ]
    return Shop(sampler, network, model, embeddings, Parameters().reads)


def _bytes(made: Plant, run: int, images: int) -> float:
    with made.database.reading() as session:
        query = select(func.sum(func.length(SampleSet.data))).join(
            Problem, Problem.id == SampleSet.problem_id
        )
        total = session.execute(
            query.join(Batch, Batch.id == Problem.batch_id).where(Batch.run_id == run)
        ).scalar_one()
    return float(total) / images
