"""Visible values and energies of single images: computed by workers, once for their content."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from producer.dashboard.charts import energy_histograms
from producer.dashboard.report import content
from producer.dashboard.web import rendering
from producer.dashboard.web.asked import find_or_ask
from producer.dashboard.web.drawing import digest
from schema.database import Database, renderings
from schema.messages import Message, Task


@dataclass(frozen=True)
class EnergyState:
    """The histogram of an image and the values of its visible units, or why there are none yet.

    Attributes:
        text: why there is no histogram, for display.
        error: why a worker could not compute it; unless its reads are gone, it is asked for again after a
            minute.
    """

    histogram: dict[str, Any] | None
    text: str = ""
    error: str | None = None
    visible: dict[str, Any] | None = None


@dataclass(frozen=True)
class EnergyCharts:
    """Finds histograms, and asks workers for those that are missing; ``send`` sends a message soon."""

    send: Callable[[Message], None]

    def find(self, database: Database, run: int, image: int) -> EnergyState:
        """Return the state of the histogram of ``image``, which is scored, of ``run`` in ``database``."""
        kind = renderings.histogram_kind(image)
        with database.reading() as session:
            key = run, kind, digest(content.of_energies(session, run, image))
        found = find_or_ask(database, key, Task.COMPUTE_HISTOGRAMS, self.send)
        if found.body is not None:
            return _computed(json.loads(found.body))
        if found.error is not None:
            return _failed(found.error)
        if found.has_worker:
            return EnergyState(None, "Computing: a worker does it when no batch waits for it.")
        return EnergyState(
            None, "No worker is alive: the energies are computed once `annealq up` starts one."
        )


def _computed(values: dict[str, Any]) -> EnergyState:
    """Return the state of an image by what a worker has computed: ``values`` as its JSON has them."""
    visible, error = values.pop("visible", None), values.pop("error", None)
    return EnergyState(values, visible=visible) if error is None else _failed(error, visible)


def _failed(error: str, visible: dict[str, Any] | None = None) -> EnergyState:
    return EnergyState(None, f"The energies cannot be computed: {error}", error, visible)


def svg(histogram: dict[str, Any], predicted: int | None, names: Sequence[str]) -> str:
    """Return ``histogram`` as a drawing; ``predicted`` and ``names`` as for `energy_histograms.chart`."""
    chart = energy_histograms.chart(histogram, predicted, names, large=True)
    return rendering.environment().get_template("energies.svg.j2").render(c=chart)
