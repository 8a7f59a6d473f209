"""Energy histograms of images as charts; those of a report are computed by a program with torch."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import numpy as np

from producer.dashboard.charts import svg_charts
from producer.dashboard.charts.svg_charts import Chart
from producer.stack import programs
from producer.stack.programs import Program
from schema.errors import AnnealqError
from schema.settings import load

_REPORT_S = 120.0

Histogram = Mapping[str, Any]
"""`edges` of the bins, (n + 1,); `classes`: (n,) counts by class, -1 for none or several classes.

Both are missing where no reads are stored. `visible`: see `visible_values.chart`.
"""


@contextmanager
def start(run: int, images: Sequence[int]) -> Iterator[Callable[[], tuple[dict[int, Histogram], list[str]]]]:
    """Start to compute the histograms of ``images`` in ``run``, and the values of their visible units.

    Yields a function that waits for them, and returns them by image, or a note why there are none.
    """
    if not images:
        yield lambda: ({}, [])
    elif find_spec("torch") is None:
        yield lambda: (
            {},
            ["No energies: they need a worker's packages, pip install 'annealq[worker]'."],
        )
    else:
        arguments = [str(run), *map(str, images)]
        with programs.start(Program.ENERGY_HISTOGRAMS, arguments, load(), timeout_s=_REPORT_S) as running:
            yield lambda: _read(running)


def _read(running: programs.RunningProgram) -> tuple[dict[int, Histogram], list[str]]:
    try:
        text = running.text()
    except AnnealqError as error:
        return {}, [f"No energies: {error}"]
    return {int(image): histogram for image, histogram in json.loads(text).items()}, []


def chart(histogram: Histogram, predicted: int | None, names: Sequence[str], *, large: bool = False) -> Chart:
    """Return ``histogram`` as a ``large`` or small chart: one class, other classes, none or several.

    The class is ``predicted``, or that of most reads for an undecided image; ``names`` are those of all
    classes.
    """
    edges = np.array(histogram["edges"])
    counts = {int(key): np.array(values) for key, values in histogram["classes"].items()}
    none = counts.pop(-1, np.zeros(len(edges) - 1, dtype=np.int64))
    if predicted is None and counts:
        predicted = max(counts, key=lambda key: int(counts[key].sum()))
    first = np.zeros_like(none) if predicted is None else counts.pop(predicted, np.zeros_like(none))
    stacked = [
        ("one class" if predicted is None else f"class {names[predicted]}", first),
        ("another class", sum(counts.values(), np.zeros_like(none))),
        ("none or several", none),
    ]
    size = svg_charts.LARGE if large else svg_charts.SMALL
    return svg_charts.histogram("Energies of the reads", "energy", "reads", edges, stacked, size)
