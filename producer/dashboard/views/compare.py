"""Two runs of the same images side by side."""

from __future__ import annotations

from starlette.responses import Response

from producer.dashboard.web.tables import Link, PageTable
from producer.dashboard.web.visit import Visit
from producer.reports.certainty import CLASSICAL
from producer.reports.comparison import RunComparison, compare_runs, loss_rows
from producer.runs import queries
from schema.errors import ParameterError
from schema.quantities import count_text

_MAX_CHOICES = 50  # newest runs that are offered
_MAX_IMAGES = 200_000  # of a run; more take seconds
_SHOWN = 200  # differences


def show(visit: Visit) -> Response:
    """Compare the runs in the address of ``visit``, or ask for them."""
    first, second = visit.asked_number("first"), visit.asked_number("second")
    with visit.database.reading() as session:
        choices = queries.runs(session, _MAX_CHOICES, owned_by=visit.visitor.only)
    comparison, error = None, None
    if first is not None and second is not None:
        for number in (first, second):
            visit.visitor.check(number)
        try:
            comparison = _compare(visit, first, second)
        except ParameterError as refused:
            error = refused
    return visit.render(
        "compare.html.j2",
        200 if error is None else 409,
        title="Compare two runs",
        first=first,
        second=second,
        choices=choices,
        error=error,
        comparison=comparison,
        losses=[] if comparison is None else loss_rows(comparison.losses),
        classical=CLASSICAL,
        differences=None if comparison is None else _differences(comparison),
    )


def _compare(visit: Visit, first: int, second: int) -> RunComparison:
    with visit.database.reading() as session:
        images = queries.run(session, first).images
        if images > _MAX_IMAGES:
            raise ParameterError(
                f"run {first} has more images than the {_MAX_IMAGES:,} that a page compares: use "
                f"`annealq runs compare {first} {second}`"
            )
        return compare_runs(session, first, second)


def _differences(comparison: RunComparison) -> PageTable:
    first, second = comparison.runs
    shown = comparison.differences[:_SHOWN]
    return PageTable(
        title="Where they differ",
        caption=f"{count_text(len(comparison.differences), 'image')}, of which {len(shown):,} are shown",
        columns=("image", "true class", f"run {first}", f"run {second}"),
        rows=[
            [
                Link(str(each.image), f"/runs/{first}/images/{each.image}"),
                each.label,
                each.first or "undecided",
                each.second or "undecided",
            ]
            for each in shown
        ],
        empty="They agree on all images.",
    )
