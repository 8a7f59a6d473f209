"""How fast a large source becomes a run, and the memory that its reader needs.

    ANNEALQ_BENCH_INTAKE=1000000 python -m pytest -m bench -s tests/benchmarks/test_intake.py

Colour images of 32 x 32 pixels: of a .npy file, of PNG in Parquet files of 100,000 rows, and of the .npy file
by reference, without images in the database. `annealq runs resume` reads them in a process of its own.
No workers are beside it. The time is that of the whole process, processor time that of all of its threads.

Reached with 10^6 images of PNG in Parquet on SQLite, on 2 cores with a load of 20: 262 MB, 7,600 images in a
second of processor time. They are decoded 0.56 times as fast as Pillow alone opens and decodes them, which is
below 20,000 in a second where Pillow reaches 34,400. The goal in seconds of a clock needs a quiet machine.
"""

from __future__ import annotations

import io
import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from sqlalchemy import insert

from producer.images.origin import DataOrigin
from producer.intake.find import source_of
from producer.intake.open import open_intake
from producer.networks.choose import choose_network
from producer.runs import queries
from producer.runs.request import RunOptions
from schema.database import Database
from schema.parameters import Parameters, Solver
from schema.settings import load
from schema.shapes import ImageShape
from schema.tables import Network
from tests.benchmarks.conftest import Record
from tests.conftest import ROOT
from tests.integration.conftest import network_row

IMAGES = int(os.environ.get("ANNEALQ_BENCH_INTAKE", "200000"))
ROWS = 100_000  # of a Parquet file
DRAWN = 2_000  # different pictures
GOAL, GOAL_MB = 20_000.0, 500.0

pytestmark = [pytest.mark.bench, pytest.mark.slow, pytest.mark.timeout(600 + IMAGES // 500)]


def npy(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    path = folder / "images.npy"
    images = np.lib.format.open_memmap(path, "w+", np.uint8, (IMAGES, 32, 32, 3))
    for start in range(0, IMAGES, 10_000):
        part = images[start : start + 10_000]
        part[...] = rng.integers(0, 256, part.shape, dtype=np.uint8)
    images.flush()
    return path


def parquet(folder: Path) -> Path:
    """Write smooth pictures, which deflate as photographs do, to about 2.3 kB."""
    rng = np.random.default_rng(0)
    pictures = []
    for _ in range(DRAWN):
        buffer = io.BytesIO()
        small = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        small.resize((32, 32), Image.Resampling.BICUBIC).save(buffer, "PNG")
        pictures.append({"bytes": buffer.getvalue(), "path": None})
    (folder / "set").mkdir()
    shards = -(-IMAGES // ROWS)
    for shard in range(shards):
        rows = min(ROWS, IMAGES - shard * ROWS)
        chosen = rng.integers(0, DRAWN, rows)
        table = pa.table({"image": [pictures[k] for k in chosen], "label": rng.integers(0, 10, rows)})
        pq.write_table(
            table, folder / "set" / f"train-{shard:05}-of-{shards:05}.parquet", row_group_size=10_000
        )
    return folder / "set"


@pytest.mark.parametrize(
    ("name", "write_set", "by_reference"),
    [(".npy", npy, False), ("PNG in Parquet", parquet, False), (".npy by reference", npy, True)],
)
def test_a_million_images_are_enqueued_in_little_memory(
    database: Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    record: Record,
    name: str,
    write_set: Callable[[Path], Path],
    by_reference: bool,
) -> None:
    monkeypatch.setenv("ANNEALQ_REFERENCE_FOLDERS", str(tmp_path))
    url = database.url.render_as_string(hide_password=False)
    monkeypatch.setenv("ANNEALQ_DATABASE_URL", url)
    load()
    architecture = network_row()["architecture"]
    architecture["input"] = {"height": 32, "width": 32, "image_max": 255, "average": 1, "channels": 3}
    row = {**network_row(), "name": "colour", "architecture": architecture, "shape": "32x32x3"}
    with database.transaction() as session:
        session.execute(insert(Network).values(row))
        network = choose_network(session, "colour", ImageShape.image(32, 32, 3))
    source = source_of(DataOrigin(str(write_set(tmp_path)), "set"))
    parameters, options = Parameters(reads=10), RunOptions()
    run = open_intake(
        database, source, network, Solver.LOCAL, parameters, options, by_reference=by_reference
    ).id
    command = [sys.executable, "-m", "producer.cli", "runs", "resume", str(run)]
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    peak = 0
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as reader:
        while reader.poll() is None:
            peak = max(peak, _peak_bytes(reader.pid))
            time.sleep(0.05)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    took_s = time.perf_counter() - began
    assert reader.returncode == 0
    with database.reading() as session:
        assert queries.run(session, run).images == IMAGES
    where = f"{IMAGES:,} images of 32 x 32 x 3, {name}, {database.url.get_backend_name()}"
    record(f"enqueued: {where}", IMAGES / took_s, "images/s", GOAL)
    processor_s = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    record(f"enqueued in processor time: {where}", IMAGES / processor_s, "images/s")
    record(f"memory of the reader: {where}", peak / 1e6, "MB", GOAL_MB, at_least=False)


def _peak_bytes(process: int) -> int:
    """Return the most memory that a process has had since it began its program; 0 once it has ended."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return 0 if found is None else 1024 * int(found[1])
