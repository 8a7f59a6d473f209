"""Computes the sample sets that the API was asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from schema.database import renderings
from schema.errors import AnnealqError, reason
from schema.parameters import SampleSetRequest

if TYPE_CHECKING:
    from worker.context import Context

log = structlog.get_logger()

_AT_ONCE = 10  # sample sets; one of a chip has megabytes


def compute_sample_sets(context: Context, run: int) -> None:
    """Compute in ``context`` the sample sets of ``run`` that are asked for, and store them.

    It takes no lease: two workers that do it at the same time store the same.
    """
    # Here, since it imports dimod and networkx, which other tasks do without.
    from worker.ocean.sample_sets import to_json
    from worker.pipeline.sample_sets.build import build_sample_set

    database = context.database
    with database.reading() as session:
        asked = renderings.asked(session, run, renderings.SAMPLE_SET, _AT_ONCE)
    bodies: dict[str, bytes] = {}
    errors: dict[str, str] = {}
    for kind in asked:
        request = SampleSetRequest.parse(kind.removeprefix(renderings.SAMPLE_SET))
        try:
            with database.reading() as session:
                built = build_sample_set(session, run, request, context.networks, context.backbones)
            bodies[kind] = to_json(built).encode()
        except AnnealqError as failure:
            errors[kind] = reason(failure)
            log.warning("a sample set cannot be computed", error=errors[kind])
    with database.transaction() as session:
        renderings.answer(session, run, asked, bodies, errors)
