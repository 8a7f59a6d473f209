"""Values of the visible units of images as charts: what an annealer is given of an image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from producer.dashboard.charts import svg_charts
from producer.dashboard.charts.svg_charts import Chart


def chart(visible: Mapping[str, Any]) -> Chart:
    """Return the values of an image's visible units as a chart: a bar for each, a colour for each source.

    ``visible`` is what a worker computes: `values`, `alpha`, their largest size, and `sources`, the number of
    units of each.
    """
    values, sources = np.array(visible["values"], np.float64), visible["sources"] or {"": -1}
    ends = np.cumsum(list(sources.values()))[:-1]
    parts = list(zip(sources, np.split(values, ends), strict=True))
    return svg_charts.signed("Visible units", "visible unit", "value", parts, visible["alpha"])
