"""Figures of bundles: time to verify one of 10,000 images on qubits, and its size.

Reads are those of random bits, drawn at once: more chains are broken than on a chip, so that verifying takes
longer, and the reads do not deflate. docs/proof.md has the sizes with annealed reads: 1.81 times the stored
ones for 1,000 images, of which features (0.55) and the weights of the network (0.58) are most.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import func, select

from producer.images.imageset import ImageSet
from producer.networks.choose import get_or_install_network
from producer.runs.enqueue import enqueue_run
from producer.runs.request import RunOptions
from schema.messages import Message, Task
from schema.parameters import Parameters, Solver, Visible
from schema.settings import load as load_settings
from schema.settings.worker import WorkerSettings
from schema.tables import SampleSet
from tests.benchmarks.conftest import Record
from tests.conftest import data_file
from tests.emulators import TOKEN, Emulator
from tests.integration.conftest import Outbox, work_off
from worker.context import Context
from worker.proof.collect import BundleOptions, write
from worker.proof.verify import verify

pytestmark = [pytest.mark.bench, pytest.mark.slow, pytest.mark.timeout(1800)]

IMAGES = 10_000
PARAMETERS = Parameters(reads=100, visible=Visible.SAMPLED, qpu="advantage-system6")


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator(f"--token={TOKEN}", "--chip=advantage-system6", samples="instant") as emulator:
        yield emulator


def no_report(_step: str, _done: int, _total: int) -> None:
    pass


@pytest.mark.parametrize("images", [False, True], ids=["hashes", "images"])
def test_verifying_ten_thousand_images(
    record: Record, database: Any, emulator: Emulator, tmp_path: Path, images: bool
) -> None:
    context = Context(database, WorkerSettings(), Outbox())
    context.solvers.shared = load_settings(emulator_url=emulator.endpoint, emulator_token=TOKEN)
    with np.load(data_file("mnist_small.npz")) as file:
        pixels, labels = file["train_images"], file["train_labels"]
    rows = np.arange(IMAGES) % len(pixels)
    data = ImageSet("mnist", pixels[rows], labels[rows], None, None)
    network = get_or_install_network(database, data, "mnist")
    options = RunOptions(batch_size=1000)
    run = enqueue_run(database, data, network, Solver.EMULATOR, PARAMETERS, options).id
    work_off(context, Message(Task.DISPATCH))
    context.solvers.disconnect(Solver.EMULATOR, PARAMETERS)
    path = tmp_path / "run.zip"
    write(database, run, path, BundleOptions(images, "none", None), no_report)
    start = time.process_time()
    findings = verify(path, None, no_report)
    seconds = time.process_time() - start
    assert not findings.wrong
    with database.reading() as session:
        reads = session.execute(select(func.sum(func.length(SampleSet.data)))).scalar_one()
    what = "with images" if images else "without images"
    record(f"verify a bundle of 10,000 images {what}", seconds, "s of a processor", 10.0, at_least=False)
    record(f"size of it {what}, by its stored reads", path.stat().st_size / reads, "x", 1.2, at_least=False)
