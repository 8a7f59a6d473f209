"""Section 4.3 of the paper: how long one image takes, on a classical computer and by sampling."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from rich.console import Group
from rich.table import Table

from producer.images.imageset import ImageSet
from producer.networks import queries
from producer.reproduction import baseline, charts, digits5x5
from producer.reproduction.paper import TIMES
from producer.reproduction.report import Reproduced
from producer.reproduction.runner import Runner
from producer.reproduction.trial import ExperimentRun, Scale
from schema.errors import NetworkError
from schema.network.architecture import PRESETS, Architecture
from schema.network.layers import VectorInput, read_input
from schema.parameters import Parameters, Solver
from schema.quantities import count_text
from schema.shapes import ImageArray

FULL = Scale(reads=1000)
QUICK = Scale(reads=100)
IMAGES = 100  # of each network; times follow from them as well as from more
_EXACT_UNITS = 16  # class units that the exact annealer enumerates


@dataclass(frozen=True)
class Times:
    """Microseconds for one image; sampling times are for all of its reads, on one core.

    Attributes:
        forward_us: the network alone, one image at a time.
        in_batch_us: the network alone, in a batch.
        exact_us: None where the exact sampler does not apply.
        images_per_second: the run through the queue, all workers together.
    """

    network: str
    units: int
    reads: int
    forward_us: float
    in_batch_us: float
    local_us: float
    exact_us: float | None
    images_per_second: float


def reproduce(
    runner: Runner, data: ImageSet | None, train: ImageSet | None, scale: Scale, seed: int
) -> Reproduced:
    """Time every preset that is ready, after training ``digits5x5``, and `mnist` too where ``train`` is
    given.

    ``data`` of another size than a network takes, or None, are replaced by random images from ``seed``: the
    time of a forward pass or of a sweep does not depend on what an image shows. ``scale`` sets the reads;
    ``runner`` runs it all through the queue.
    """
    runner.train("digits5x5", "energy", digits5x5.digits())
    if train is not None:
        runner.train("mnist", "energy", train)
    times = [_measure(runner, network, data, scale, seed) for network in _networks(runner)]
    numbers: dict[str, Any] = {
        "reproduces": "scaling",
        "source": TIMES.source,
        "seed": seed,
        "reads": scale.reads,
        "published": {**asdict(TIMES), "read_us": TIMES.read_us},
        "ours": [asdict(time) for time in times],
    }
    bars = list(_bars(times))
    figures = {"scaling.png": partial(charts.draw_times, bars)}
    return Reproduced("scaling", numbers, _text(times, scale.reads), figures)


def _networks(runner: Runner) -> Iterator[queries.NetworkSummary]:
    for name in PRESETS:
        try:
            yield runner.network(name)
        except NetworkError:
            continue


def _measure(
    runner: Runner,
    network: queries.NetworkSummary,
    data: ImageSet | None,
    scale: Scale,
    seed: int,
) -> Times:
    images, parameters = _images(network, data, seed), Parameters(reads=scale.reads, seed=seed)
    architecture = Architecture.from_dict(network.architecture)
    name = f"{network.name}@{network.version}"
    # One after the other: two runs at once would share the processors.
    (local,) = runner.run([ExperimentRun(name, images, parameters)])
    exact = None
    if architecture.form != "deep" and architecture.classes <= _EXACT_UNITS:
        (exact,) = runner.run([ExperimentRun(name, images, parameters, Solver.EXACT)])
    own = baseline.measure(runner.app, local.run_id)
    return Times(
        network=name,
        units=architecture.units,
        reads=scale.reads,
        forward_us=own.forward_us,
        in_batch_us=own.in_batch_us,
        local_us=local.sampling_us,
        exact_us=None if exact is None else exact.sampling_us,
        images_per_second=local.images_per_second,
    )


def _images(network: queries.NetworkSummary, data: ImageSet | None, seed: int) -> ImageSet:
    shape = network.image_shape
    if network.name == "digits5x5":
        return digits5x5.flips().limit(IMAGES)
    if data is not None and data.shape == shape:
        return data.limit(IMAGES)
    random, takes = np.random.default_rng(seed), read_input(network.architecture["input"])
    values: ImageArray
    if isinstance(takes, VectorInput):
        values = random.standard_normal(shape.array(IMAGES), dtype=np.float32)
    else:
        values = random.integers(0, takes.image_max + 1, shape.array(IMAGES), dtype=np.uint8)
    return ImageSet(f"random {shape.short}", values, None, None, None)


def _text(times: list[Times], reads: int) -> Group:
    table = Table(title="microseconds for one image", title_justify="left")
    table.add_column("")
    for name in ("units in Q", "network alone", "the same, of 100", f"exact, {count_text(reads, 'read')}"):
        table.add_column(name, justify="right")
    for name in (f"local, {count_text(reads, 'read')}", "local, one read", "images/s in the queue"):
        table.add_column(name, justify="right")
    published = (f"{TIMES.classical_us:,.0f}", "", "", "", f"{TIMES.read_us:,.0f} (QPU)", "")
    table.add_row(f"{TIMES.source.removeprefix('Higham and Bedford, ')} of the paper", "358", *published)
    for time in times:
        row = (time.forward_us, time.in_batch_us, time.exact_us, time.local_us, time.local_us / time.reads)
        cells = ("-" if value is None else f"{value:,.0f}" for value in row)
        table.add_row(time.network, str(time.units), *cells, f"{time.images_per_second:,.1f}")
    parts = f"{TIMES.anneal_us:.0f} anneal + {TIMES.readout_us:.0f} readout + {TIMES.delay_us:.0f} delay"
    return Group(
        table,
        f"The paper's {TIMES.read_us:.0f} us are one read ({parts}), without programming the QPU; its tables "
        f"took 1,000 reads. Its {TIMES.classical_us:,.0f} us include printing. Ours are of one core.",
    )


def _bars(times: list[Times]) -> Iterator[charts.Bar]:
    yield charts.Bar("paper: classical computer", TIMES.classical_us, published=True)
    yield charts.Bar("paper: QPU, one read", TIMES.read_us, published=True)
    for time in times:
        yield charts.Bar(f"{time.network}: network alone", time.forward_us)
        if time.exact_us is not None:
            yield charts.Bar(f"{time.network}: exact, {count_text(time.reads, 'read')}", time.exact_us)
        yield charts.Bar(f"{time.network}: local, {count_text(time.reads, 'read')}", time.local_us)
        yield charts.Bar(f"{time.network}: local, one read", time.local_us / time.reads)
